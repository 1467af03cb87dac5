"""Knowledge vectors of one source, raw id -> row -> vector, and the users that knowledge knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from models.layer_support import PACKAGE

MISSING_ROW = 0


class KnowledgeRecords(Protocol):
    """What a source's knowledge records hold, one entry per entity."""

    @property
    def entity_ids(self) -> Sequence[str]:
        """Raw ids."""

    @property
    def vectors(self) -> np.ndarray:
        """[entities, width]."""

    @property
    def extraction(self) -> Sequence[str]:
        """Either "individual" or "collective"."""

    @property
    def group_ids(self) -> Sequence[str]:
        """Group of each entity, "" when it has none."""


@tf.keras.utils.register_keras_serializable(PACKAGE)
class EntityIndex(tf.keras.layers.Layer):
    """Raw id -> table row. Unknown ids have row 0 ("missing"); ids may share a row.

    Shapes: strings [...] -> int32 [...].

    Attributes:
      num_entities: number of known ids.
    """

    def __init__(
        self,
        entity_ids: Sequence[str] | None = None,
        rows: np.ndarray | None = None,
        num_entities: int | None = None,
        **kwargs: object,
    ):
        """Creates the index from ids and rows, or empty when Keras reloads a saved one.

        Raises:
          ValueError: ids repeat, or the number of rows is another than that of the ids.
        """
        super().__init__(**kwargs)
        if entity_ids is not None:
            num_entities = len(entity_ids)
            if len(set(entity_ids)) != num_entities:
                raise ValueError("entity ids repeat")
            if rows is None or len(rows) != num_entities:
                raise ValueError(f"{num_entities} entity ids need as many rows. Received: {rows!r}")
        elif num_entities is None:
            raise ValueError("give entity_ids and rows, or num_entities")
        self.num_entities = num_entities
        # A vocabulary given to the constructor would be missing from .keras files; one set later
        # is an asset there. has_input_vocabulary keeps Keras from counting the ids as weights.
        self._lookup = tf.keras.layers.StringLookup(
            mask_token=None, num_oov_indices=1, has_input_vocabulary=True
        )
        if entity_ids is not None:
            self._lookup.set_vocabulary(np.asarray(entity_ids, dtype=object))
        self._rows = self.add_weight(
            name="rows",
            shape=(num_entities + 1,),
            dtype=tf.int32,
            initializer=_constant(rows, leading=np.zeros([1], np.int32)),
            trainable=False,
        )
        for layer in (self._lookup, self):
            layer.build(None)  # whole from the start; Keras 3 would warn that it is not

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows of raw ids."""
        return tf.gather(self._rows, self._lookup(ids))

    @property
    def entity_ids(self) -> list[str]:
        """The known ids."""
        return self._lookup.get_vocabulary(include_special_tokens=False)

    def rows_of_entities(self) -> np.ndarray:
        """Rows of the known ids, in the order of `entity_ids`: int32 [entities]."""
        return self._rows.numpy()[1:]

    def get_config(self) -> dict[str, object]:
        """The size; ids are saved as an asset and rows as a weight."""
        return {**super().get_config(), "num_entities": self.num_entities}


@tf.keras.utils.register_keras_serializable(PACKAGE)
class KnowledgeTable(tf.keras.layers.Layer):
    """Looks up knowledge vectors by raw id.

    Row 0 means "missing": an id that the table does not know gets row 0 and a vector of zeros.
    Several ids may share a row (the members of a group share the group's answer). Vectors are kept
    as a float16 variable that is not trained, never as a graph constant, and given as float32 under
    any precision policy: match and prior need all of their digits.

    Shapes: ids [...] of strings in, vectors [..., dimension] out.

    Attributes:
      source: name of the source, e.g. "item".
      dimension: width of the vectors.
    """

    def __init__(
        self,
        source: str,
        entity_ids: Sequence[str] | None = None,
        vectors: np.ndarray | None = None,
        row_of_entity: np.ndarray | None = None,
        num_entities: int | None = None,
        num_rows: int | None = None,
        dimension: int | None = None,
        index: EntityIndex | None = None,
        **kwargs: object,
    ):
        """Creates the table from its contents, or empty when Keras reloads a saved one.

        Args:
          source: name of the source.
          entity_ids: raw ids, without repeats.
          vectors: [rows, dimension], finite; row i of the array becomes row i + 1 of the table.
          row_of_entity: [entities], table row of each id; 1, 2, 3, ... when left out.
          num_entities: number of ids, when `entity_ids` is left out.
          num_rows: rows of the table with row 0, when `vectors` is left out.
          dimension: width, when `vectors` is left out.
          index: of a saved table.
          **kwargs: Keras layer arguments.

        Raises:
          ValueError: no ids, ids repeat, sizes disagree, a row is out of range, or a vector is not
            finite.
        """
        kwargs.setdefault("name", f"{source}_knowledge_table")
        super().__init__(**kwargs | {"dtype": "float32"})
        self.source = source
        if vectors is not None and entity_ids is not None:
            vectors = np.asarray(vectors)
            if row_of_entity is None:
                row_of_entity = np.arange(1, len(entity_ids) + 1)
            _check_contents(source, vectors, row_of_entity)
            num_entities, num_rows, dimension = len(entity_ids), len(vectors) + 1, vectors.shape[1]
        elif num_entities is None or num_rows is None or dimension is None:
            raise ValueError("give entity_ids and vectors, or num_entities, num_rows and dimension")
        self.num_entities, self.num_rows, self.dimension = num_entities, num_rows, dimension
        self.index = index or EntityIndex(entity_ids, row_of_entity, num_entities, name="index")
        self._vectors = self.add_weight(
            name="vectors",
            shape=(num_rows, dimension),
            dtype=tf.float16,
            initializer=_constant(vectors, leading=np.zeros([1, dimension], np.float16)),
            trainable=False,
        )
        self.build(None)

    @classmethod
    def from_records(cls, source: str, records: KnowledgeRecords, **kwargs: Any) -> KnowledgeTable:
        """Builds the table from records; ids with the same collective answer share one row."""
        rows, first_of_row = rows_of_records(records)
        vectors = np.asarray(records.vectors)[first_of_row]
        return cls(source, records.entity_ids, vectors, rows, **kwargs)

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Vectors of raw ids: strings [...] -> [..., dimension]."""
        return self.vectors(self.rows(ids))

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Table rows of raw ids: strings [...] -> int32 [...]; unknown ids have row 0."""
        return self.index(ids)

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """Vectors of table rows: int [...] -> [..., dimension]; row 0 is all zeros."""
        return tf.cast(tf.gather(self._vectors, rows), self.compute_dtype)

    def get_config(self) -> dict[str, object]:
        """Sizes and index; ids and vectors are saved as asset and weights."""
        return {
            **super().get_config(),
            "source": self.source,
            "num_entities": self.num_entities,
            "num_rows": self.num_rows,
            "dimension": self.dimension,
            # The index is a layer of a functional model that calls `rows`, too: given as it is,
            # Keras knows the two to be one.
            "index": self.index,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> KnowledgeTable:
        """Makes the table again, with zeros in it."""
        index = config.get("index")
        if isinstance(index, dict):
            index = tf.keras.layers.deserialize(index)
        return cls(**config | {"index": index})


def rows_of_records(records: KnowledgeRecords) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a table built from records, where a group's collective answer has one row.

    A collective record that names no group has a row of its own.

    Returns:
      int32 [entities], table row of each record, and int [rows - 1], the first record of rows 1, 2,
      3, ...
    """
    rows: list[int] = []
    first_of_row: list[int] = []
    row_of_group: dict[str, int] = {}
    for index, (extraction, group) in enumerate(
        zip(records.extraction, records.group_ids, strict=True)
    ):
        is_shared = extraction == "collective" and group != ""
        if is_shared and group in row_of_group:
            rows.append(row_of_group[group])
            continue
        first_of_row.append(index)
        rows.append(len(first_of_row))
        if is_shared:
            row_of_group[group] = rows[-1]
    return np.asarray(rows, np.int32), np.asarray(first_of_row, np.int64)


def _constant(
    values: np.ndarray | None, leading: np.ndarray
) -> tf.keras.initializers.Initializer | str:
    if values is None:
        return "zeros"
    full = np.concatenate([leading, np.asarray(values).astype(leading.dtype)])

    def initial_value(shape: object, dtype: tf.DType | None = None, **_: object) -> tf.Tensor:
        return tf.convert_to_tensor(full, dtype)

    return initial_value


def _check_contents(source: str, vectors: np.ndarray, row_of_entity: np.ndarray) -> None:
    if not len(row_of_entity):
        raise ValueError(f"source '{source}' has no entities; leave it out")
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"vectors of source '{source}' must be finite, [rows, dimension]")
    if np.abs(vectors).max(initial=0.0) > np.finfo(np.float16).max:
        raise ValueError(f"vectors of source '{source}' do not fit into float16")
    if not (0 <= np.min(row_of_entity) and np.max(row_of_entity) <= len(vectors)):
        raise ValueError(f"source '{source}': a row is outside [0, {len(vectors)}]")


class UserRows(tf.Module):
    """Knowledge rows of users; 0 where a source knows nothing of the user.

    Shapes: user ids, strings [m] -> source -> int32 [m], without sources an empty mapping.
    """

    def __init__(self, indexes: Mapping[str, EntityIndex]):
        """Keeps the index of every source."""
        super().__init__(name="user_rows")
        self._indexes = dict(indexes)

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources in output order."""
        return tuple(self._indexes)

    def __call__(self, user_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Looks users up."""
        return {source: index(user_ids) for source, index in self._indexes.items()}

    def known_users(self) -> tuple[list[str], dict[str, np.ndarray]]:
        """All users that a source knows.

        Returns:
          Their raw ids in order, and source -> int32 [users + 1], knowledge row of each user behind
          a 0 for those nobody knows.
        """
        users = sorted({user for index in self._indexes.values() for user in index.entity_ids})
        position = {user: row for row, user in enumerate(users, start=1)}
        rows = {}
        for source, index in self._indexes.items():
            source_rows = np.zeros(len(users) + 1, np.int32)
            places = [position[user] for user in index.entity_ids]
            source_rows[places] = index.rows_of_entities()
            rows[source] = source_rows
        return users, rows
