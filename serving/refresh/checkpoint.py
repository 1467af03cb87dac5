"""The variables of a SavedModel by name, and ids that join its tables."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import fingerprint_pb2, trackable_object_graph_pb2

from configs.command_line import CommandError
from serving.id_index import UNKNOWN_ROW, WINDOW, IndexContents, id_hashes


class IdLookup:
    """The index of a version's items or users.

    Attributes:
      contents: the index with all ids that joined.
      new_ids: those ids, in the order of their rows.
    """

    def __init__(self, contents: IndexContents):
        """Begins with the ids of a version."""
        self.contents = contents
        self.new_ids: list[str] = []

    @classmethod
    def of_version(cls, variables: StoredVariables, prefix: str) -> IdLookup | None:
        """The index of "items" or "users"; None when the version has none."""
        name = f"{prefix}/index"
        if f"{name}/keys" not in variables:
            return None
        return cls(
            IndexContents(
                keys=variables.read(f"{name}/keys"),
                rows=variables.read(f"{name}/rows"),
                starts=variables.read(f"{name}/starts"),
                shift=np.asarray(variables.read(f"{name}/shift")),
                salt=variables.read(f"{name}/salt").decode(),
            )
        )

    @property
    def num_rows(self) -> int:
        """Rows, row 0 of unknown ids included."""
        return len(self.contents.keys) - WINDOW + 1

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """Rows of ids, int32 [ids]; 0 for unknown ones."""
        return self._rows_of(id_hashes(list(ids), self.contents.salt))

    def rows_in(self, other: IdLookup) -> np.ndarray:
        """The rows that the ids of this version have in another.

        Returns:
          int32 [rows]; 0 for row 0, and where the other version does not know the id.

        Raises:
          CommandError: the versions hash ids in different ways.
        """
        if self.contents.salt != other.contents.salt:
            raise CommandError("the versions hash ids in different ways: no row can be compared")
        rows = np.full(self.num_rows, UNKNOWN_ROW, np.int32)
        rows[self.contents.rows[:-WINDOW]] = other._rows_of(self.contents.keys[:-WINDOW])
        return rows

    def _rows_of(self, keys: np.ndarray) -> np.ndarray:
        stored_keys = self.contents.keys[:-WINDOW]
        if not len(stored_keys) or not len(keys):
            return np.full(len(keys), UNKNOWN_ROW, np.int32)
        places = np.minimum(np.searchsorted(stored_keys, keys), len(stored_keys) - 1)
        is_match = stored_keys[places] == keys
        return np.where(is_match, self.contents.rows[places], UNKNOWN_ROW).astype(np.int32)

    def add(self, ids: Sequence[str]) -> None:
        """Lets ids join that are not known yet, without repeats.

        Raises:
          serving.id_index.IndexOverflow: two ids cannot be told apart.
        """
        if ids:
            self.contents = self.contents.with_ids(ids, self.num_rows)
            self.new_ids += ids

    def forget(self, ids: Sequence[str]) -> np.ndarray:
        """Makes ids unknown; their rows stay, under keys that no id has.

        Returns:
          The rows of those that were known, int32, ascending.
        """
        rows = np.setdiff1d(self.rows(ids), [UNKNOWN_ROW])
        if len(rows):
            keys, key_rows = self.contents.keys[:-WINDOW], self.contents.rows[:-WINDOW]
            nobody = id_hashes([uuid.uuid4().hex for _ in rows], self.contents.salt)
            keys = np.concatenate([keys[~np.isin(key_rows, rows)], nobody])
            key_rows = np.concatenate([key_rows[~np.isin(key_rows, rows)], rows.astype(np.int32)])
            self.contents = IndexContents.of_hashes(keys, key_rows, self.contents.salt)
        return rows

    def variables(self, prefix: str) -> dict[str, np.ndarray]:
        """Name -> value of the variables that ids joining changes."""
        name = f"{prefix}/index"
        return {
            f"{name}/keys": self.contents.keys,
            f"{name}/rows": self.contents.rows,
            f"{name}/starts": self.contents.starts,
            f"{name}/shift": self.contents.shift,
        }


VARIABLES = "variables"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_PREFIX = f"{VARIABLES}/variables"
_FINGERPRINT = "fingerprint.pb"

_BYTES_AT_ONCE = 2**26
"""Of tensors that are held in memory together while a checkpoint is written."""

_STRING_BYTES = 24
"""What a short string takes in a tensor."""


class StoredVariables:
    """The variables of a version, looked up by the names that an export gives them."""

    def __init__(self, version_folder: Path):
        """Opens the checkpoint; tensors are read when they are asked for.

        Raises:
          CommandError: there is no readable checkpoint.
        """
        prefix = version_folder / _PREFIX
        try:
            self._reader = tf.train.load_checkpoint(str(prefix))
            graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
                self._reader.get_tensor(_OBJECT_GRAPH)
            )
        except (ValueError, tf.errors.OpError) as error:
            raise CommandError(
                f"{prefix}.index cannot be read ({type(error).__name__}); copy the version folder "
                "anew, or export again"
            ) from error
        self._keys = {
            attribute.full_name: attribute.checkpoint_key
            for node in graph.nodes
            for attribute in node.attributes
        }
        self._shapes = self._reader.get_variable_to_shape_map()

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def names(self, prefix: str) -> list[str]:
        """Names of the variables that begin so, in order."""
        return sorted(name for name in self._keys if name.startswith(prefix))

    def shape(self, name: str) -> list[int]:
        """Shape of a variable."""
        return self._shapes[self._keys[name]]

    def checkpoint_key(self, name: str) -> str:
        """What the checkpoint calls a variable."""
        return self._keys[name]

    def read(self, name: str) -> Any:
        """A variable's value, an array of its own; of a string scalar its bytes."""
        return self._reader.get_tensor(self._keys[name])

    def write(self, version_folder: Path, changed: Mapping[str, np.ndarray | bytes]) -> None:
        """Writes the checkpoint of another version.

        Everything that is not named in `changed` is written as it was read, bit for bit, under the
        same keys, so that the graph of this version reads it.

        Args:
          version_folder: of the new version, which has the graph and the fingerprint already.
          changed: name -> value.
        """
        values = {self._keys[name]: value for name, value in changed.items()}
        prefix = version_folder / _PREFIX
        prefix.parent.mkdir(parents=True)
        parts = []
        for number, keys in enumerate(self._parts(values)):
            parts.append(f"{prefix}_part_{number:05d}")
            tf.raw_ops.SaveV2(
                prefix=parts[-1],
                tensor_names=keys,
                shape_and_slices=[""] * len(keys),
                tensors=[
                    tf.constant(values[key] if key in values else self._reader.get_tensor(key))
                    for key in keys
                ],
            )
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=parts, destination_prefix=str(prefix), delete_old_dirs=False
        )
        _renew_fingerprint(version_folder)

    def _parts(self, values: Mapping[str, np.ndarray | bytes]) -> Iterator[list[str]]:
        """The checkpoint's keys in order, in runs of about `_BYTES_AT_ONCE` or of one key."""
        types = self._reader.get_variable_to_dtype_map()
        part: list[str] = []
        size = 0
        for key, shape in sorted(self._shapes.items()):
            if key in values:
                shape = list(np.shape(values[key]))
            variable_bytes = int(np.prod(shape)) * (types[key].size or _STRING_BYTES)
            if part and size + variable_bytes > _BYTES_AT_ONCE:
                yield part
                part, size = [], 0
            part.append(key)
            size += variable_bytes
        yield part


def _renew_fingerprint(version_folder: Path) -> None:
    """TensorFlow names a SavedModel by hashes of its graph and of its checkpoint's index."""
    path = version_folder / _FINGERPRINT
    if not path.exists():
        return
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    index = (version_folder / f"{_PREFIX}.index").read_bytes()
    hashed = tf.raw_ops.Fingerprint(data=[index], method="farmhash64")
    fingerprint.checkpoint_hash = int.from_bytes(hashed.numpy().tobytes(), "little")
    fingerprint.uuid = str(uuid.uuid4())
    path.write_bytes(fingerprint.SerializeToString())
