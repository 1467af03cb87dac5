"""The item tables of a match: made from knowledge vectors, kept as variables, looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from models.match.kinds import MatchMethod
from models.match.ridge import whitening
from models.reduction import (
    by_blocks,
    cluster_landmarks,
    known_rows,
    mean_vector,
    nystroem_features,
    principal_directions,
    unit_rows,
)
from models.vector_tables import growing_table


@dataclass(frozen=True)
class Reduction:
    """A frozen reduction of knowledge vectors, which new items go through as well.

    Attributes:
      centre: [vector width], subtracted from every vector.
      basis: [vector width, directions]: principal directions (means), landmarks (low-rank ridge) or
        nothing (exact ridge).
    """

    centre: np.ndarray
    basis: np.ndarray

    @classmethod
    def fit(cls, method: MatchMethod, vectors: np.ndarray, dimension: int) -> Reduction:
        """Fits centre and basis to the rows that hold a vector: [rows, vector width]."""
        vectors = np.asarray(vectors, np.float32)
        centre = mean_vector(vectors)
        has_vector = known_rows(vectors)
        if method.kind == "means":
            basis = principal_directions(vectors[has_vector] - centre, dimension, whiten=True)
        elif method.has_landmarks and has_vector.any():
            basis = cluster_landmarks(vectors, centre, dimension).T
        else:
            basis = np.zeros([len(centre), 0], np.float32)
        return cls(centre, basis)

    def landmark_cosines(self) -> np.ndarray:
        """Cosines among the landmarks, [landmarks, landmarks]."""
        return (self.basis.T @ self.basis).astype(np.float32)

    def apply(self, method: MatchMethod, vectors: np.ndarray) -> np.ndarray:
        """Reduces vectors to table rows; vectors of zeros become rows of zeros.

        Args:
          method: what the rows are for.
          vectors: [rows, vector width].

        Returns:
          [rows, width], float32: whitened principal components of length 1 (means), vectors of
          length 1 (exact ridge), Nystroem features, or cosines with the landmarks where the graph
          makes the features.
        """
        return by_blocks(
            lambda block: self._reduced_block(method, block), np.asarray(vectors, np.float32)
        )

    def _reduced_block(self, method: MatchMethod, vectors: np.ndarray) -> np.ndarray:
        centred = vectors - self.centre
        if method.kind == "means":
            reduced = unit_rows(centred @ self.basis)
        elif method.form == "exact":
            reduced = unit_rows(centred)
        else:
            reduced = unit_rows(centred) @ self.basis
            if not method.learned:
                reduced = nystroem_features(
                    reduced, self.landmark_cosines(), method.length_scale, method.bias
                )
        return reduced * known_rows(vectors)[:, np.newaxis]


@dataclass(frozen=True)
class TableSizes:
    """Sizes of the item tables of one source.

    Attributes:
      num_rows: rows of the table, row 0 ("missing") included.
      width: columns of the table.
      num_folds: fold tables.
      vector_width: width of the knowledge vectors; 0 when the table came ready.
      basis_width: columns of the reduction's basis.
    """

    num_rows: int
    width: int
    num_folds: int = 0
    vector_width: int = 0
    basis_width: int = 0


@dataclass(frozen=True)
class MatchTables:
    """The item tables of one source; row 0 of each means "missing".

    Attributes:
      table: [rows, width], made from everything.
      has_vector: bool [rows], which rows hold a vector.
      fold_tables: [folds, rows, width], each made without the users of a fold; folds may be 0.
      fold_has_vector: bool [folds, rows].
      reduction: what made `table`, for new items; None when the table came ready.
      landmark_cosines: [1 + folds, width, width] where the graph makes Nystroem features, else
        None; the first are those of `table`.
    """

    table: np.ndarray
    has_vector: np.ndarray
    fold_tables: np.ndarray
    fold_has_vector: np.ndarray
    reduction: Reduction | None = None
    landmark_cosines: np.ndarray | None = None

    @property
    def sizes(self) -> TableSizes:
        """Sizes of the tables."""
        basis = np.zeros([0, 0]) if self.reduction is None else self.reduction.basis
        return TableSizes(
            num_rows=self.table.shape[0],
            width=self.table.shape[1],
            num_folds=len(self.fold_tables),
            vector_width=basis.shape[0],
            basis_width=basis.shape[1],
        )

    @classmethod
    def of_rows(cls, table: np.ndarray) -> MatchTables:
        """Takes a table that is reduced already, [rows, width]; rows of zeros are missing."""
        table = np.asarray(table, np.float32)
        has_vector = (np.arange(len(table)) > 0) & (known_rows(table) | (table.shape[1] == 0))
        return cls(table, has_vector, np.zeros([0, *table.shape]), np.zeros([0, len(table)], bool))

    @classmethod
    def from_vectors(
        cls,
        method: MatchMethod,
        vectors: np.ndarray,
        dimension: int,
        fold_vectors: Sequence[np.ndarray] | np.ndarray = (),
    ) -> MatchTables:
        """Reduces knowledge vectors.

        Args:
          method: what the tables are for.
          vectors: [rows, vector width], without row 0; a row of zeros is missing.
          dimension: principal directions or landmarks.
          fold_vectors: for a source made from ratings, [folds, rows, vector width]: its vectors
            without the users of each fold. Every fold has a basis of its own.
        """
        everything = [np.asarray(part, np.float32) for part in (vectors, *fold_vectors)]
        reductions = [Reduction.fit(method, part, dimension) for part in everything]
        reduced = [
            reduction.apply(method, part)
            for reduction, part in zip(reductions, everything, strict=True)
        ]
        width = max(part.shape[1] for part in reduced)
        tables = np.zeros([len(reduced), 1 + len(vectors), width], np.float32)
        has_vector = np.zeros(tables.shape[:2], bool)
        for number, part in enumerate(reduced):
            tables[number, 1:, : part.shape[1]] = part
            has_vector[number, 1:] = known_rows(everything[number])
        cosines = None
        if method.computes_features:
            cosines = np.stack(
                [_filled_square(one.landmark_cosines(), width) for one in reductions]
            )
        return cls(tables[0], has_vector[0], tables[1:], has_vector[1:], reductions[0], cosines)


def widened(rows: np.ndarray, width: int) -> np.ndarray:
    """Fills rows up with zeros: [rows, k] -> [rows, width]."""
    return np.pad(rows, [(0, 0), (0, width - rows.shape[1])])


def _filled_square(cosines: np.ndarray, width: int) -> np.ndarray:
    """Cosines among landmarks, filled up with landmarks at right angles to everything."""
    filled = np.eye(width, dtype=np.float32)
    filled[: len(cosines), : len(cosines)] = cosines
    return filled


class ItemRows(tf.keras.layers.Layer):
    """The table row that each source has of a catalogue row.

    Shapes: a source and int [...] -> int32 [...].
    """

    def __init__(
        self,
        sources: Sequence[str],
        num_catalogue_rows: int,
        item_rows: Mapping[str, np.ndarray] | None = None,
        **kwargs: object,
    ):
        """Creates the weights.

        Args:
          sources: names of the sources.
          num_catalogue_rows: rows of the catalogue.
          item_rows: source -> [catalogue rows]; zeros, to be loaded later, if None.
          **kwargs: Keras layer arguments.
        """
        super().__init__(**kwargs)
        self._rows = {
            source: self.add_weight(
                name=f"{source}_rows",
                shape=[num_catalogue_rows],
                dtype=tf.int32,
                initializer="zeros",
                trainable=False,
            )
            for source in sources
        }
        for source, rows in (item_rows or {}).items():
            self._rows[source].assign(rows)

    def call(self, source: str, catalogue_rows: tf.Tensor) -> tf.Tensor:
        """Looks rows up."""
        return tf.gather(self._rows[source], catalogue_rows)

    def stored(self) -> StoredItemRows:
        """What an export has in the place of this: tables that may grow."""
        return StoredItemRows(self._rows)


class StoredItemRows(tf.Module):
    """What an export has of `ItemRows`."""

    def __init__(self, rows: Mapping[str, tf.Variable]):
        """Copies the rows of every source."""
        super().__init__(name="stored_item_rows")
        self._rows = {
            source: growing_table(source_rows, f"items/match_row/{source}")
            for source, source_rows in rows.items()
        }

    def __call__(self, source: str, catalogue_rows: tf.Tensor) -> tf.Tensor:
        """Looks rows up."""
        return tf.gather(self._rows[source], catalogue_rows)


class ItemTables(tf.keras.layers.Layer):
    """Finds the table rows of candidates and histories, and makes learned Nystroem features.

    A *slot* is a row of the flat table that a lookup returns; slot 0 is "missing", and every row
    without a vector has it. Fold tables are kept in variables of their own, [folds * rows, width]
    in float16 (rounding that is far below the noise of a rating), except cosines with landmarks,
    whose rounding the landmarks' inverse kernel matrix would magnify.

    Attributes:
      sizes: of the tables.
    """

    def __init__(self, method: MatchMethod, sizes: TableSizes, **kwargs: object):
        """Creates the variables, all zeros."""
        super().__init__(**kwargs | {"dtype": "float32"})
        self.sizes = sizes
        self._computes_features = method.computes_features
        rows, width, folds = sizes.num_rows, sizes.width, sizes.num_folds
        self._table = self._add("table", [rows, width])
        self._slots = self._add("slots", [rows], tf.int32)
        if sizes.vector_width:
            self._centre = self._add("centre", [sizes.vector_width])
            self._basis = self._add("basis", [sizes.vector_width, sizes.basis_width])
        if method.computes_features:
            self._landmark_cosines = self._add("landmark_cosines", [1, width, width])
        if folds:
            stored = tf.float32 if method.computes_features else tf.float16
            self._fold_table = self._add("fold_table", [folds * rows, width], stored)
            self._fold_slots = self._add("fold_slots", [folds * rows], tf.int32)
            if method.computes_features:
                self._fold_landmark_cosines = self._add(
                    "fold_landmark_cosines", [folds, width, width]
                )
        self.build(None)  # it is never called itself, so Keras would not know that it is whole

    def fill(self, tables: MatchTables) -> None:
        """Sets the variables from tables of these sizes."""
        folds, rows, width = self.sizes.num_folds, self.sizes.num_rows, self.sizes.width
        self._table.assign(tables.table)
        self._slots.assign(_slots(tables.has_vector))
        if tables.reduction is not None:
            self._centre.assign(tables.reduction.centre)
            self._basis.assign(tables.reduction.basis)
        if tables.landmark_cosines is not None:
            self._landmark_cosines.assign(tables.landmark_cosines[:1])
        if folds:
            flat = np.reshape(tables.fold_tables, [folds * rows, width])
            self._fold_table.assign(flat.astype(tf.as_dtype(self._fold_table.dtype).as_numpy_dtype))
            self._fold_slots.assign(_slots(np.reshape(tables.fold_has_vector, [-1])))
            if tables.landmark_cosines is not None:
                self._fold_landmark_cosines.assign(tables.landmark_cosines[1:])

    def stored(self, name: str, dtype: tf.DType, length_scale: tf.Tensor) -> StoredItemTables:
        """What an export has in the place of this: tables that may grow, and no fold tables.

        Args:
          name: prefix of the variables' names.
          dtype: number format of the table, unless it holds cosines with landmarks.
          length_scale: the kernel's, now that it is trained.
        """
        if not self._computes_features:
            table = growing_table(tf.cast(self._table, dtype), f"{name}/table")
            return StoredItemTables(table, growing_table(self._slots, f"{name}/slots"))
        factor = whitening(self._landmark_cosines, length_scale)[0]
        return StoredItemTables(
            growing_table(self._table, f"{name}/table"),
            growing_table(self._slots, f"{name}/slots"),
            tf.Variable(factor, trainable=False, name=f"{name}/whitening"),
        )

    @property
    def reduction(self) -> Reduction:
        """The reduction that made the table.

        Raises:
          ValueError: the table came ready, so that its reduction is unknown.
        """
        if not self.sizes.vector_width:
            raise ValueError(
                "this match was built over a ready table, so new items cannot be reduced to it; "
                "build it with KnowledgeMatch.from_vectors"
            )
        return Reduction(self._centre.numpy(), self._basis.numpy())

    def look_up(
        self, candidate_rows: tf.Tensor, history_rows: tf.Tensor, folds: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Finds rows.

        Args:
          candidate_rows: int [users, candidates].
          history_rows: int [users, length].
          folds: int [users], or None for the table made from everything.

        Returns:
          The flat table [slots, width], and the slots of candidates and history.
        """
        if folds is None or not self.sizes.num_folds:
            candidates = tf.gather(self._slots, candidate_rows)
            return self._table, candidates, tf.gather(self._slots, history_rows)
        start = tf.cast(folds, tf.int32)[:, tf.newaxis] * self.sizes.num_rows
        candidates = tf.gather(self._fold_slots, start + tf.cast(candidate_rows, tf.int32))
        history = tf.gather(self._fold_slots, start + tf.cast(history_rows, tf.int32))
        return self._fold_table, candidates, history

    def nystroem_features(
        self, table: tf.Tensor, slots: tf.Tensor, length_scale: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """Nystroem features of slots under a kernel that is being trained.

        Args:
          table: the flat table of cosines with the landmarks that `look_up` returned.
          slots: int [k].
          length_scale: of the kernel.
          bias: constant part of the kernel.

        Returns:
          [k, width + 1], as `models.reduction.nystroem_features`; zeros for slot 0.
        """
        kernel = _landmark_kernel(table, slots, length_scale)
        if self.sizes.num_folds and table is self._fold_table:
            whitened = self._whitened_by_fold(kernel, slots // self.sizes.num_rows, length_scale)
        else:
            whitened = tf.linalg.matmul(kernel, whitening(self._landmark_cosines, length_scale)[0])
        return _with_constant(whitened, slots, bias)

    def _whitened_by_fold(
        self, kernel: tf.Tensor, folds: tf.Tensor, length_scale: tf.Tensor
    ) -> tf.Tensor:
        number = self.sizes.num_folds
        factors = tf.unstack(whitening(self._fold_landmark_cosines, length_scale))
        places = tf.dynamic_partition(tf.range(tf.size(folds)), folds, number)
        parts = tf.dynamic_partition(kernel, folds, number)
        whitened = [
            tf.linalg.matmul(part, factor) for part, factor in zip(parts, factors, strict=True)
        ]
        return tf.dynamic_stitch(places, whitened)

    def _add(self, name: str, shape: list[int], dtype: tf.DType = tf.float32) -> tf.Variable:
        return self.add_weight(
            name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False
        )


class StoredItemTables(tf.Module):
    """What an export has of `ItemTables`: the table made from everything, and no reduction."""

    def __init__(
        self, table: tf.Variable, slots: tf.Variable, whitening_factor: tf.Variable | None = None
    ):
        """Keeps the variables.

        Args:
          table: [rows, width].
          slots: int32 [rows].
          whitening_factor: [width, width] where the graph makes Nystroem features; see
            `models.match.ridge.whitening`.
        """
        super().__init__(name="stored_item_tables")
        self._table, self._slots = table, slots
        self._whitening = whitening_factor

    def look_up(
        self, candidate_rows: tf.Tensor, history_rows: tf.Tensor, folds: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Finds rows as `ItemTables.look_up` does; requests leave no fold of users out."""
        candidates = tf.gather(self._slots, candidate_rows)
        return self._table, candidates, tf.gather(self._slots, history_rows)

    def nystroem_features(
        self, table: tf.Tensor, slots: tf.Tensor, length_scale: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """Nystroem features of slots, float32 [k, width + 1], under the trained kernel."""
        kernel = _landmark_kernel(table, slots, length_scale)
        return _with_constant(tf.linalg.matmul(kernel, self._whitening), slots, bias)


def _landmark_kernel(table: tf.Tensor, slots: tf.Tensor, length_scale: tf.Tensor) -> tf.Tensor:
    return tf.exp((tf.gather(table, slots) - 1.0) / length_scale)


def _with_constant(whitened: tf.Tensor, slots: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    has_vector = tf.cast(slots > 0, tf.float32)[:, tf.newaxis]
    return tf.concat([whitened * has_vector, tf.sqrt(bias) * has_vector], axis=1)


def _slots(has_vector: np.ndarray) -> np.ndarray:
    return np.where(has_vector, np.arange(len(has_vector)), 0).astype(np.int32)
