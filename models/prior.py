"""Knowledge prior: the rating that an item's knowledge lets expect.

The formula and where the constants come from: docs/knowledge_match.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from configs.model import Prior
from models.catalogue import RATING_PRIOR_COUNT, CatalogueContents
from models.layer_support import PACKAGE, ConfiguredLayer
from models.reduction import (
    by_blocks,
    cluster_landmarks,
    known_rows,
    mean_vector,
    nystroem_features,
    unit_rows,
)

KERNEL_BIAS = 0.3
PRIOR_SUFFIX = "_prior"
"""Ends the name of a prior's layer, which begins with its source."""

# In units of the variance that knowledge explains. Items differ by as much again that it does not
# explain; a rating's noise is what the catalogue's shrinkage assumes, 5 times the items' variance.
UNEXPLAINED_VARIANCE = 1.0
RATING_VARIANCE = RATING_PRIOR_COUNT * (1.0 + UNEXPLAINED_VARIANCE)


@dataclass(frozen=True)
class PriorPrediction:
    """The fitted regression, for items that had no part in it.

    Attributes:
      centre: [vector width], subtracted from every vector.
      landmarks: [landmarks, vector width], of the kernel.
      coefficients: [landmarks + 1].
      length_scale: of the kernel.
    """

    centre: np.ndarray
    landmarks: np.ndarray
    coefficients: np.ndarray
    length_scale: float

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Priors of items, from their knowledge vectors alone.

        Args:
          vectors: [items, vector width]; zeros where there is no knowledge.

        Returns:
          [items], float32; 0 without knowledge.
        """
        vectors = np.asarray(vectors, np.float32)
        features = _features(vectors, self.centre, self.landmarks, self.length_scale)
        return (features @ self.coefficients) * known_rows(vectors)


@dataclass(frozen=True)
class FittedPrior:
    """The priors of a catalogue's items, and what those of new items are predicted with.

    Attributes:
      table: [items + 1, columns], float32; row 0, the unknown item's, is 0. A column for each fold
        of users, made without their ratings, and one made from all.
      prediction: fitted to the ratings of all users.
    """

    table: np.ndarray
    prediction: PriorPrediction

    @classmethod
    def from_ratings(
        cls, contents: CatalogueContents, vectors: np.ndarray, options: Prior
    ) -> FittedPrior:
        """Fits the regressions.

        Args:
          contents: the items and their training ratings by fold of users.
          vectors: [items, vector width], knowledge in catalogue order; zeros where there is none.
          options: landmarks, length scale and parts of the items.

        Raises:
          ValueError: there are more or fewer vectors than items.
        """
        vectors = np.asarray(vectors, np.float32)
        if len(vectors) != len(contents.item_ids):
            raise ValueError(
                f"{len(contents.item_ids)} items need as many vectors. Received: {len(vectors)}"
            )
        has_vector = known_rows(vectors)
        centre = mean_vector(vectors)
        landmarks = cluster_landmarks(vectors, centre, options.dimension)
        features = _features(vectors, centre, landmarks, options.length_scale)
        parts = item_parts(contents.item_ids, options.folds)
        memberships = [parts == part for part in range(options.folds)]
        sums, counts = _without_each_fold(contents)
        never_rated = counts[:, -1] == 0
        table = np.zeros([len(vectors) + 1, sums.shape[1]], np.float32)
        for column in range(sums.shape[1]):
            regression = _Regression.of_items(
                features, sums[:, column], np.where(has_vector, counts[:, column], 0), memberships
            )
            for part, members in enumerate(memberships):
                table[1:, column][members] = features[members] @ regression.solve(without=part)
            coefficients = regression.solve()
            table[1:, column][never_rated] = features[never_rated] @ coefficients
        table[1:][~has_vector] = 0.0
        return cls(table, PriorPrediction(centre, landmarks, coefficients, options.length_scale))


@tf.keras.utils.register_keras_serializable(PACKAGE)
class KnowledgePrior(ConfiguredLayer):
    """One number an item: its expected mean rating, less the mean of all ratings.

    Predicted from the item's knowledge vector by kernel ridge regression over the other items, so
    that it says nothing but what knowledge says: no item's own ratings, and for a training sample
    no rating of its user's fold, has a part in it.

    Shapes: catalogue rows int [...] -> float32 [...].

    Attributes:
      num_rows: rows of the catalogue, the unknown item's row 0 included.
      num_columns: user folds, and one column more that is made from all users.
      vector_width: width of the knowledge vectors.
      num_landmarks: landmarks of the kernel regression.
      length_scale: of the kernel.
    """

    def __init__(
        self,
        num_rows: int,
        num_columns: int,
        vector_width: int,
        num_landmarks: int,
        length_scale: float = 0.5,
        **kwargs: object,
    ):
        """Creates the variables, all zeros: make a prior with `from_ratings`."""
        super().__init__(**kwargs | {"dtype": "float32"})
        self.num_rows, self.num_columns = num_rows, num_columns
        self.vector_width, self.num_landmarks = vector_width, num_landmarks
        self.length_scale = length_scale
        self._table = self._add("table", [num_rows, num_columns])
        self._centre = self._add("centre", [vector_width])
        self._landmarks = self._add("landmarks", [num_landmarks, vector_width])
        self._coefficients = self._add("coefficients", [num_landmarks + 1])

    @classmethod
    def from_ratings(
        cls, contents: CatalogueContents, vectors: np.ndarray, options: Prior, **kwargs: Any
    ) -> KnowledgePrior:
        """Fits the regressions; see `FittedPrior.from_ratings`."""
        return cls.of_fitted(FittedPrior.from_ratings(contents, vectors, options), **kwargs)

    @classmethod
    def of_fitted(cls, fitted: FittedPrior, **kwargs: Any) -> KnowledgePrior:
        """The layer of fitted regressions, with Keras layer arguments."""
        table, prediction = fitted.table, fitted.prediction
        prior = cls(
            num_rows=table.shape[0],
            num_columns=table.shape[1],
            vector_width=len(prediction.centre),
            num_landmarks=len(prediction.landmarks),
            length_scale=prediction.length_scale,
            **kwargs,
        )
        prior._table.assign(table)
        prior._centre.assign(prediction.centre)
        prior._landmarks.assign(prediction.landmarks)
        prior._coefficients.assign(prediction.coefficients)
        return prior

    def call(self, rows: tf.Tensor, folds: tf.Tensor | None = None) -> tf.Tensor:
        """Looks priors up.

        Args:
          rows: int [...], rows of the catalogue.
          folds: int, of a shape that broadcasts to that of the rows: the fold of users that has no
            part in the prior, for training samples; None leaves out nobody.

        Returns:
          float32 [...].
        """
        rows = tf.convert_to_tensor(rows)
        if folds is None:
            return tf.gather(self._table[:, -1], rows)
        columns = tf.broadcast_to(tf.cast(folds, rows.dtype), tf.shape(rows))
        return tf.gather_nd(self._table, tf.stack([rows, columns], axis=-1))

    @property
    def prediction(self) -> PriorPrediction:
        """What new items' priors are predicted with."""
        return PriorPrediction(
            self._centre.numpy(),
            self._landmarks.numpy(),
            self._coefficients.numpy(),
            self.length_scale,
        )

    def _add(self, name: str, shape: list[int]) -> tf.Variable:
        return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)


def item_parts(item_ids: Iterable[str], parts: int) -> np.ndarray:
    """The part of each item, by a hash of its id that further items do not change: int [items]."""
    return np.array([zlib.crc32(str(item_id).encode()) % parts for item_id in item_ids], np.int64)


@dataclass(frozen=True)
class _Regression:
    """Weighted ridge regression of the items' mean ratings, less the mean of all, on features.

    An item of n ratings has the weight 1 / (UNEXPLAINED_VARIANCE + RATING_VARIANCE / n). Sums are
    kept by part of the items, so that leaving one out needs no second pass over the items.

    Attributes:
      products: [parts, width, width], weighted sum of features times features.
      rating_products: [parts, width], weighted sum of features times mean ratings.
      feature_sums: [parts, width], weighted sum of features.
      ratings: [parts, 2], sum and number of ratings.
    """

    products: np.ndarray
    rating_products: np.ndarray
    feature_sums: np.ndarray
    ratings: np.ndarray

    @classmethod
    def of_items(
        cls,
        features: np.ndarray,
        sums: np.ndarray,
        counts: np.ndarray,
        memberships: Sequence[np.ndarray],
    ) -> _Regression:
        """Sums the items of each part up; items without ratings are left out."""
        collected = []
        for members in memberships:
            used = members & (counts > 0)
            some, number = features[used].astype(np.float64), counts[used]
            weighted = some / (UNEXPLAINED_VARIANCE + RATING_VARIANCE / number)[:, np.newaxis]
            collected.append(
                (
                    weighted.T @ some,
                    weighted.T @ (sums[used] / number),
                    weighted.sum(axis=0),
                    np.array([sums[used].sum(), number.sum()]),
                )
            )
        return cls(*(np.stack(kind) for kind in zip(*collected, strict=True)))

    def solve(self, without: int | None = None) -> np.ndarray:
        """Coefficients from all parts, or all but one: [width], float32; zeros without ratings."""
        kept = np.arange(len(self.ratings)) != without
        rating_sum, rating_count = self.ratings[kept].sum(axis=0)
        if not rating_count:
            return np.zeros(self.feature_sums.shape[1], np.float32)
        mean = rating_sum / rating_count
        target = (self.rating_products[kept] - mean * self.feature_sums[kept]).sum(axis=0)
        precision = np.eye(len(target)) + self.products[kept].sum(axis=0)
        return np.linalg.solve(precision, target).astype(np.float32)


def _features(
    vectors: np.ndarray, centre: np.ndarray, landmarks: np.ndarray, length_scale: float
) -> np.ndarray:
    among = landmarks @ landmarks.T
    return by_blocks(
        lambda block: nystroem_features(
            unit_rows(block - centre) @ landmarks.T, among, length_scale, KERNEL_BIAS
        ),
        vectors,
    )


def _without_each_fold(contents: CatalogueContents) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts without each fold of users, then of all of them: [items, folds + 1]."""

    def with_total(by_fold: np.ndarray) -> np.ndarray:
        total = by_fold.sum(axis=1, keepdims=True)
        return np.concatenate([total - by_fold, total], axis=1)

    return with_total(contents.rating_sum_by_fold), with_total(contents.rating_count_by_fold)
