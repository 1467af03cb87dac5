"""Principal components of knowledge vectors, without training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from configs.model import Model
from models.adapters.base import KnowledgeAdapter, Tensors, common_options, frozen_weight
from models.knowledge import KnowledgeTable
from models.vector_tables import row_chunks

# Components whose variance is below this share of the largest are rounding errors.
_SMALLEST_VARIANCE = 1e-10


class PrincipalComponentAdapter(KnowledgeAdapter):
    """a_t = D^(-1/2) U' (x_t - m): the first `width` principal components, whitened, per source.

    m is the mean of the source's vectors, D and U hold the largest eigenvalues of their covariance
    and the eigenvectors; each component so has mean 0 and deviation 1 over the rows of the table.
    With fewer components than `width` the rest is 0. Nothing but the default vector is trained: the
    adapter shows what knowledge is worth to a model that cannot shape it. `standardized` takes the
    components of the correlations instead.
    """

    def __init__(self, tables: Mapping[str, KnowledgeTable], width: int, **options: Any):
        """Computes the components of every source.

        Args:
          tables: source -> knowledge table.
          width: components that are kept.
          **options: of `KnowledgeAdapter`.
        """
        super().__init__(tables, width, **options)
        self._means: dict[str, tf.Variable] = {}
        self._projections: dict[str, tf.Variable] = {}
        for source in self.sources:
            mean, covariance = self._moments(source)
            projection = whitening_projection(covariance, width)
            self._means[source] = frozen_weight(self, f"{source}_mean", mean)
            self._projections[source] = frozen_weight(self, f"{source}_projection", projection)

    def _augment(self, rows: Tensors, training: bool | None) -> Tensors:
        return {
            source: self._augment_vectors(source, self.vectors(source, rows[source]))
            for source in self.sources
        }

    def _augment_vectors(self, source: str, vectors: tf.Tensor) -> tf.Tensor:
        centred = vectors - self._means[source]
        projected = tf.linalg.matmul(centred, self._projections[source])
        return tf.cast(projected, self.compute_dtype)

    def _moments(self, source: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean [dimension] and covariance [dimension, dimension] of all rows but row 0."""
        num_rows, dimension = self.tables[source].num_rows, self.tables[source].dimension
        mean, covariance = np.zeros(dimension), np.zeros([dimension, dimension])
        for rows in row_chunks(1, num_rows):
            mean += self.vectors(source, rows).numpy().astype(np.float64).sum(axis=0)
        mean /= num_rows - 1
        for rows in row_chunks(1, num_rows):
            centred = self.vectors(source, rows).numpy().astype(np.float64) - mean
            covariance += centred.T @ centred
        return mean, covariance / (num_rows - 1)


def whitening_projection(covariance: np.ndarray, width: int) -> np.ndarray:
    """Maps centred vectors to their first principal components, each of deviation 1.

    Args:
      covariance: [dimension, dimension].
      width: components wanted.

    Returns:
      [dimension, width]; columns beyond the rank of the covariance are 0. The largest entry of
      every direction is positive, because the sign that a solver happens to give means nothing.
    """
    variances, directions = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:width]
    order = order[variances[order] > _SMALLEST_VARIANCE * max(variances.max(), 0.0)]
    directions = directions[:, order]
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(len(order))])
    projection = np.zeros([len(covariance), width])
    projection[:, : len(order)] = directions * signs / np.sqrt(variances[order])
    return projection


def pca_adapter(options: Model, tables: Mapping[str, KnowledgeTable]) -> PrincipalComponentAdapter:
    """Components of every source, `model.embedding_dimension` of them."""
    return PrincipalComponentAdapter(tables, options.embedding_dimension, **common_options(options))
