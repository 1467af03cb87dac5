"""The item tables of a match as variables, and the lookup in them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.growing import growing_table
from models.match.kinds import MatchMethod
from models.match.ridge import whitening
from models.match.tables import MatchTables, Reduction, TableSizes


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

    def fill(self, tables: MatchTables) -> None:
        """Sets the variables from tables of these sizes."""
        folds, rows, width = self.sizes.num_folds, self.sizes.num_rows, self.sizes.width
        self._table.assign(tables.table)
        self._slots.assign(_slots(tables.known))
        if tables.reduction is not None:
            self._centre.assign(tables.reduction.centre)
            self._basis.assign(tables.reduction.basis)
        if tables.landmark_cosines is not None:
            self._landmark_cosines.assign(tables.landmark_cosines[:1])
        if folds:
            flat = np.reshape(tables.fold_tables, [folds * rows, width])
            self._fold_table.assign(flat.astype(self._fold_table.dtype.as_numpy_dtype))
            self._fold_slots.assign(_slots(np.reshape(tables.fold_known, [-1])))
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
        """See `ItemTables.look_up`; requests leave no fold of users out."""
        candidates = tf.gather(self._slots, candidate_rows)
        return self._table, candidates, tf.gather(self._slots, history_rows)

    def nystroem_features(
        self, table: tf.Tensor, slots: tf.Tensor, length_scale: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """See `ItemTables.nystroem_features`."""
        kernel = _landmark_kernel(table, slots, length_scale)
        return _with_constant(tf.linalg.matmul(kernel, self._whitening), slots, bias)


def _landmark_kernel(table: tf.Tensor, slots: tf.Tensor, length_scale: tf.Tensor) -> tf.Tensor:
    return tf.exp((tf.gather(table, slots) - 1.0) / length_scale)


def _with_constant(whitened: tf.Tensor, slots: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    known = tf.cast(slots > 0, tf.float32)[:, tf.newaxis]
    return tf.concat([whitened * known, tf.sqrt(bias) * known], axis=1)


def _slots(known: np.ndarray) -> np.ndarray:
    return np.where(known, np.arange(len(known)), 0).astype(np.int32)
