"""What a version keeps for a refresh, and where: descriptions, methods, tables, its checkpoint."""

from __future__ import annotations

import json
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field, ValidationError
from tensorflow.core.protobuf import fingerprint_pb2, trackable_object_graph_pb2

from configs.command_line import CommandError
from configs.knowledge import Encoder, Links, SourceAnswers
from configs.section import Section
from configs.serving import IdType
from models.match import KnowledgeMatch, MatchMethod
from models.match.tables import Reduction, widened
from models.prior import PriorPrediction
from preprocessing.records.forgotten import Forgotten
from serving.id_index import UNKNOWN_ROW, WINDOW, IndexContents, id_hashes
from serving.publishing import version_folders

FORMAT_VERSION: Final = 1
ASSETS = "assets.extra"


@dataclass(frozen=True)
class RefreshFolder:
    """Paths of a version's parts.

    Attributes:
      version_folder: the version.
    """

    version_folder: Path

    @property
    def path(self) -> Path:
        """The folder."""
        return self.version_folder / ASSETS / "refresh"

    @property
    def description(self) -> Path:
        """Sources, encoder, kinds of tables: JSON."""
        return self.path / "refresh.json"

    @property
    def functions(self) -> Path:
        """A SavedModel."""
        return self.path / "functions"

    def source(self, source: str) -> Path:
        """Folder of a source."""
        return self.path / "sources" / source

    def encoder(self, source: str) -> Path:
        """Folder of an encoder that was fitted on a source."""
        return self.source(source) / "encoder"


def forgotten_in(base: Path) -> Forgotten:
    """Whom any version of a base path has forgotten: no further version may know them again.

    Raises:
      preprocessing.records.contract.DamagedRecords: a version's list is damaged.
    """
    forgotten = Forgotten()
    for folder in version_folders(base).values():
        forgotten = forgotten.joined(Forgotten.of(RefreshFolder(folder).path))
    return forgotten


Origin = Literal["answers", "links", "vectors", "metadata", "random", "collaborative"]
TEXT_ORIGINS = ("answers", "metadata")
_FIXED_ORIGINS = ("random", "collaborative")


def made_from(answers: SourceAnswers) -> Origin:
    """What the vectors of a source are made from; a source has one of these settings at most."""
    origins: tuple[Origin, ...] = ("links", "vectors", "metadata", "random", "collaborative")
    return next((name for name in origins if getattr(answers, name)), "answers")


class SourceDescription(Section):
    """One knowledge source of the model."""

    entity: Literal["item", "user"]
    made_from: Origin
    dimension: int = Field(description="width of the knowledge vectors")
    factor: str | None = Field(None, description="field of structured answers that is encoded")
    history_entry_pattern: str | None = Field(
        None, description="matches interactions in a prompt, where the history is encoded too"
    )
    links: Links | None = Field(None, description="how names in answers become links, if they do")
    encoder: dict[str, object] | None = Field(
        None, description="identity of the encoder that made the vectors"
    )
    length_scale: float | None = Field(None, description="of the knowledge prior's kernel, if any")

    @property
    def takes_answers(self) -> bool:
        """Whether answers, or texts in their place, become knowledge vectors of this source."""
        return self.made_from in (*TEXT_ORIGINS, "links")

    @property
    def takes_vectors(self) -> bool:
        """Whether knowledge vectors that were made elsewhere may join the source's."""
        return self.made_from not in _FIXED_ORIGINS


class RefreshDescription(Section):
    """Everything about a version's knowledge that is not an array."""

    format_version: Literal[1] = FORMAT_VERSION
    id_type: IdType = "string"
    encoder: Encoder
    sources: dict[str, SourceDescription] = Field(description="in the model's order")
    replaced_id_sources: tuple[str, ...] = Field((), description="knowledge in place of item ids")
    retrieved_sources: tuple[str, ...] = Field(
        (), description="item sources of a retrieval model's stored item vectors"
    )
    prior_sources: tuple[str, ...] = Field((), description="in the order of the item's numbers")
    is_retrieval: bool = Field(False, description="whether vectors of items are stored")
    match_history_length: int | None = Field(
        None, description="newest interactions that the match reads; earlier exports have none"
    )
    num_exported_items: int = Field(description="items of the run, to which others were added")

    def write(self, folder: RefreshFolder) -> None:
        """Writes the description's file."""
        folder.description.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_description(version_folder: Path) -> RefreshDescription:
    """Reads the description of a version.

    Raises:
      CommandError: the version has none, or one of another version of the code.
    """
    path = RefreshFolder(version_folder).description
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CommandError(
            f"{path} is missing: the version was exported without what a refresh needs, by an "
            "earlier version of the code; export again with 'python -m serving export'"
        ) from error
    try:
        return RefreshDescription.model_validate_json(text)
    except ValidationError as error:
        raise CommandError(
            f"{path} is damaged, or of another version of the code ({error.error_count()} fields "
            "are wrong); export again with 'python -m serving export'"
        ) from error


PROJECTED, AUGMENTED = "projected.npy", "augmented.npy"
"""What a source adds to the vectors in the place of item ids; its augmented vectors."""


def write_source_table(folder: Path, name: str, table: np.ndarray) -> None:
    """Writes a table, float32 [rows, width], into a source's folder."""
    np.save(folder / name, table, allow_pickle=False)


def read_source_table(folder: Path, name: str) -> np.ndarray:
    """Reads a table of a source's folder.

    Raises:
      CommandError: it is missing or damaged.
    """
    try:
        return np.load(folder / name, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CommandError(
            f"{folder / name} cannot be read ({error}); copy the version folder anew, or export "
            "again"
        ) from error


_MATCH, _METHOD, _PRIOR = "match.npz", "match.json", "prior.npz"


@dataclass(frozen=True)
class MatchReduction:
    """A match's reduction with all that it needs.

    Attributes:
      method: what the rows are for.
      reduction: centre and basis.
      width: of the table.
    """

    method: MatchMethod
    reduction: Reduction
    width: int

    @classmethod
    def of_match(cls, match: KnowledgeMatch) -> MatchReduction:
        """That of a model's match, its parameters as they are now."""
        return cls(match.trained_method, match.reduction, match.sizes.width)

    def rows(self, vectors: np.ndarray) -> np.ndarray:
        """Table rows of knowledge vectors: [n, vector width] -> float32 [n, width]."""
        return widened(self.reduction.apply(self.method, vectors), self.width)

    def write(self, folder: Path) -> None:
        """Writes the files of a source's folder."""
        np.savez(folder / _MATCH, centre=self.reduction.centre, basis=self.reduction.basis)
        method = {**asdict(self.method), "width": self.width}
        (folder / _METHOD).write_text(json.dumps(method) + "\n", encoding="utf-8")


def read_match(folder: Path) -> MatchReduction:
    """Reads the files of a source's folder.

    Raises:
      CommandError: they are missing or damaged.
    """
    arrays = _read(folder / _MATCH, ("centre", "basis"))
    try:
        method = json.loads((folder / _METHOD).read_text(encoding="utf-8"))
        width = method.pop("width")
        return MatchReduction(MatchMethod(**method), Reduction(*arrays), width)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder / _METHOD, error) from error


def write_prior(folder: Path, prediction: PriorPrediction) -> None:
    """Writes the file of a source's folder."""
    np.savez(
        folder / _PRIOR,
        centre=prediction.centre,
        landmarks=prediction.landmarks,
        coefficients=prediction.coefficients,
    )


def read_prior(folder: Path, length_scale: float) -> PriorPrediction:
    """Reads the file of a source's folder.

    Raises:
      CommandError: it is missing or damaged.
    """
    names = ("centre", "landmarks", "coefficients")
    centre, landmarks, coefficients = _read(folder / _PRIOR, names)
    return PriorPrediction(centre, landmarks, coefficients, length_scale)


def _read(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CommandError:
    return CommandError(
        f"{path} cannot be read ({error}); copy the version folder anew, or export again"
    )


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
"""Bytes of tensors held in memory together while a checkpoint is written."""

_STRING_BYTES = 24
"""Bytes that a short string takes in a tensor."""


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
