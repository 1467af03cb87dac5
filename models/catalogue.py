"""The items a model can rank: raw id -> catalogue row -> attributes and rating statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from models.vector_tables import growing_table

NUM_ITEM_STATISTICS = 2
RATING_PRIOR_COUNT = 5.0
UNKNOWN_ROW = 0


@dataclass(frozen=True)
class CategoricalColumn:
    """A categorical attribute, possibly multi-valued.

    Attributes:
      vocabulary: known values; value i has index i + 2 (0 is padding, 1 unknown).
      values: the values of each item, in catalogue order.
    """

    vocabulary: Sequence[str]
    values: Sequence[Sequence[str]]


@dataclass(frozen=True)
class CatalogueContents:
    """What the catalogue knows, in catalogue order.

    Attributes:
      item_ids: raw ids, without repeats.
      trained_item_ids: ids that occur in training; only they have an embedding of their own.
      categorical: attribute name -> column.
      numeric: attribute name -> [items] numbers, NaN where missing.
      rating_sum_by_fold: [items, folds], sum of training ratings by the rater's fold.
      rating_count_by_fold: [items, folds].
    """

    item_ids: Sequence[str]
    trained_item_ids: Sequence[str]
    categorical: Mapping[str, CategoricalColumn]
    numeric: Mapping[str, np.ndarray]
    rating_sum_by_fold: np.ndarray
    rating_count_by_fold: np.ndarray

    def with_items(self, item_ids: Iterable[str]) -> CatalogueContents:
        """A copy with further items at the end, without attributes or ratings; known ids stay."""
        present = set(self.item_ids)
        new = [item_id for item_id in dict.fromkeys(item_ids) if item_id not in present]
        if not new:
            return self
        no_ratings = np.zeros([len(new), self.rating_sum_by_fold.shape[1]])
        return CatalogueContents(
            item_ids=[*self.item_ids, *new],
            trained_item_ids=self.trained_item_ids,
            categorical={
                name: CategoricalColumn(column.vocabulary, [*column.values, *([[]] * len(new))])
                for name, column in self.categorical.items()
            },
            numeric={
                name: np.concatenate([column, np.full(len(new), np.nan)])
                for name, column in self.numeric.items()
            },
            rating_sum_by_fold=np.concatenate([self.rating_sum_by_fold, no_ratings]),
            rating_count_by_fold=np.concatenate([self.rating_count_by_fold, no_ratings]),
        )


class Catalogue(tf.Module):
    """Lookup tables over the catalogue, used alike in training and in serving.

    Row 0 is the unknown item. All tables are variables that are not trained.

    Item means are shrunk: (sum + 5 mu) / (count + 5), mu being the mean of all training ratings.
    A training sample must not see its own label in its item's mean, so there is one mean per fold
    of users, made without that fold; the last column, `num_folds`, is made from all of them and is
    what validation, test and serving use. To leave the label alone out would not do: of an item's
    ratings and their mean without one, the missing one can be told. Ratings of a history are known
    to the model anyway, so each is left out by itself (`residuals`).
    """

    def __init__(self, contents: CatalogueContents):
        """Builds the tables."""
        super().__init__(name="catalogue")
        self.num_items = len(contents.item_ids)
        self.num_trained_items = len(contents.trained_item_ids)
        self.num_folds = contents.rating_sum_by_fold.shape[1]
        self._lookup = tf.keras.layers.StringLookup(
            vocabulary=np.asarray(contents.item_ids, dtype=object),
            mask_token=None,
            num_oov_indices=1,
        )
        self.embedding_rows = _table(_embedding_rows(contents), tf.int32, "embedding_rows")
        self.categorical = {
            name: _table(_value_indices(column), tf.int32, f"{name}_values")
            for name, column in contents.categorical.items()
        }
        self.num_values = {
            name: len(column.vocabulary) + 2 for name, column in contents.categorical.items()
        }
        numeric = [_standardised(column) for column in contents.numeric.values()]
        self.num_numeric = 2 * len(numeric)
        self.numeric = _table(
            np.concatenate([*numeric, np.zeros([self.num_items + 1, 0])], axis=1),
            tf.float32,
            "numeric",
        )
        means, counts, self.global_mean = _rating_statistics(contents)
        self._means = _table(means, tf.float32, "mean_ratings")
        self._log_counts = _table(np.log1p(counts), tf.float32, "log_rating_counts")

    @property
    def item_ids(self) -> list[str]:
        """Raw ids of rows 1 to `num_items`."""
        return self._lookup.get_vocabulary(include_special_tokens=False)

    def rows(self, item_ids: tf.Tensor) -> tf.Tensor:
        """Catalogue rows of raw ids: strings [...] -> int32 [...]; unknown ids have row 0."""
        return tf.cast(self._lookup(item_ids), tf.int32)

    def residuals(
        self,
        rows: tf.Tensor,
        ratings: tf.Tensor,
        own_rows: tf.Tensor | None = None,
        user_folds: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Ratings of histories less the shrunk means of what others gave the items in training.

        The ratings of a training sample's history are training ratings themselves. Each is left out
        of its item's mean, (sum - rating + 5 mu) / (count - 1 + 5), or residuals in training would
        be smaller than those of the users to be scored, whose ratings nobody counted. Without
        `user_folds` the means are taken as they are.

        Args:
          rows: int [n, length].
          ratings: float [n, length].
          own_rows: int [n] or [n, L], the candidates, given with `user_folds`.
          user_folds: int [n], of training samples. Where a history meets one of its own candidates
            again, the mean leaves this fold out, or the sample's label would be in it.

        Returns:
          float [n, length].
        """
        where = self._row_and_fold(rows, self.folds_of(rows, None))
        residuals = ratings - tf.gather_nd(self._means, where)
        if own_rows is None or user_folds is None:
            return residuals
        # To take one of n ratings out of a mean moves it by its residual / (n - 1 + 5).
        counts = tf.math.expm1(tf.gather_nd(self._log_counts, where))
        rest = counts - 1.0 + RATING_PRIOR_COUNT
        residuals += tf.where(counts > 0.5, residuals / rest, 0.0)
        candidates = tf.reshape(own_rows, [tf.shape(rows)[0], 1, -1])
        is_own = tf.reduce_any(rows[:, :, tf.newaxis] == candidates, axis=2)
        folds = tf.broadcast_to(user_folds[:, tf.newaxis], tf.shape(rows))
        where = tf.where(is_own)
        own_means = tf.gather_nd(
            self._means,
            self._row_and_fold(tf.gather_nd(rows, where), tf.gather_nd(folds, where)),
        )
        own = tf.gather_nd(ratings, where) - own_means
        return tf.tensor_scatter_nd_update(residuals, where, own)

    def statistics(self, rows: tf.Tensor, user_folds: tf.Tensor | None = None) -> tf.Tensor:
        """Candidate statistics: shrunk mean rating less the global mean, and log(1 + ratings).

        Args:
          rows: int [n] or [n, L].
          user_folds: int [n], folds left out of the statistics; None leaves out nothing.

        Returns:
          float [n, 2] or [n, L, 2].
        """
        where = self._row_and_fold(rows, self.folds_of(rows, user_folds))
        centred = tf.gather_nd(self._means, where) - self.global_mean
        return tf.stack([centred, tf.gather_nd(self._log_counts, where)], axis=-1)

    def folds_of(self, rows: tf.Tensor, user_folds: tf.Tensor | None) -> tf.Tensor:
        """The fold to leave out for every row, `num_folds` for none: int, of the rows' shape."""
        if user_folds is None:
            return tf.fill(tf.shape(rows), self.num_folds)
        if rows.shape.rank == 2:
            user_folds = user_folds[:, tf.newaxis]
        return tf.broadcast_to(user_folds, tf.shape(rows))

    def store(self, lookup: Callable[[tf.Tensor], tf.Tensor]) -> None:
        """Takes the form of an export: tables that may grow, and no statistics by fold.

        Args:
          lookup: raw ids to catalogue rows, strings [...] -> int32 [...], in place of the lookup
            whose ids are part of the graph.
        """
        self._lookup = lookup
        self.embedding_rows = growing_table(self.embedding_rows, "items/embedding_row")
        self.categorical = {
            name: growing_table(table, f"items/attribute/{name}")
            for name, table in self.categorical.items()
        }
        self.numeric = growing_table(self.numeric, "items/numeric")
        self._means = growing_table(self._means[:, self.num_folds :], "items/mean_rating")
        self._log_counts = growing_table(
            self._log_counts[:, self.num_folds :], "items/log_rating_count"
        )
        self.num_folds = 0

    @staticmethod
    def _row_and_fold(rows: tf.Tensor, folds: tf.Tensor) -> tf.Tensor:
        return tf.stack([rows, tf.cast(folds, rows.dtype)], axis=-1)


def _table(values: np.ndarray, dtype: tf.DType, name: str) -> tf.Variable:
    return tf.Variable(values, trainable=False, dtype=dtype, name=name)


def _embedding_rows(contents: CatalogueContents) -> np.ndarray:
    row_of_id = {item_id: row for row, item_id in enumerate(contents.trained_item_ids, start=1)}
    return np.array([0, *(row_of_id.get(item_id, 0) for item_id in contents.item_ids)], np.int32)


def _value_indices(column: CategoricalColumn) -> np.ndarray:
    index_of = {value: index for index, value in enumerate(column.vocabulary, start=2)}
    width = max((len(values) for values in column.values), default=0)
    table = np.zeros([len(column.values) + 1, max(width, 1)], np.int32)
    table[UNKNOWN_ROW, 0] = 1
    for row, values in enumerate(column.values, start=1):
        table[row, : len(values)] = [index_of.get(value, 1) for value in values]
        if not values:
            table[row, 0] = 1
    return table


def _standardised(column: np.ndarray) -> np.ndarray:
    """Value in deviations (0 where missing) and a flag "missing": [items] -> [items + 1, 2]."""
    is_finite = np.isfinite(column)
    mean = column[is_finite].mean() if is_finite.any() else 0.0
    deviation = column[is_finite].std() if is_finite.any() else 0.0
    scaled = np.where(is_finite, (column - mean) / (deviation if deviation > 0 else 1.0), 0.0)
    return np.concatenate([[[0.0, 1.0]], np.stack([scaled, 1.0 - is_finite], axis=1)])


def _rating_statistics(contents: CatalogueContents) -> tuple[np.ndarray, np.ndarray, float]:
    sums, counts = contents.rating_sum_by_fold, contents.rating_count_by_fold
    total_sum, total_count = sums.sum(), counts.sum()
    global_mean = float(total_sum / total_count) if total_count else 0.0
    all_sums = sums.sum(axis=1, keepdims=True)
    all_counts = counts.sum(axis=1, keepdims=True)
    sums = np.concatenate([all_sums - sums, all_sums], axis=1)
    counts = np.concatenate([all_counts - counts, all_counts], axis=1)
    means = (sums + RATING_PRIOR_COUNT * global_mean) / (counts + RATING_PRIOR_COUNT)
    unknown = np.zeros([1, counts.shape[1]])
    return (
        np.concatenate([unknown + global_mean, means]),
        np.concatenate([unknown, counts]),
        global_mean,
    )
