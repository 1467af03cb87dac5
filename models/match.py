"""Knowledge match: how the candidate resembles what this user rated, in knowledge space.

The features are computed in the graph from the candidate, the history and its ratings, so that
training and serving share one code. The item tables are fixed; nothing here is trained. Formulas
and where the constants come from: docs/knowledge_match.md.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.reduction import (
    cluster_landmarks,
    nystroem_features,
    principal_components,
    unit_rows,
)
from models.registration import PACKAGE

MATCH_KINDS = ("means", "ridge")
RIDGE_LENGTH_SCALE = 0.5
RIDGE_BIAS = 0.3
RIDGE_NOISE = 1.0
MEANS_LENGTH_SCALES = (0.1, 0.25)
_EPSILON = 1e-6


def match_table(kind: str, vectors: np.ndarray, dimension: int) -> np.ndarray:
    """Reduces knowledge vectors to the item table that a match kind reads.

    Args:
      kind: "means" (whitened principal components of length 1) or "ridge" (Nystroem features of the
        kernel bias + exp((cosine - 1) / length scale) over the centred vectors).
      vectors: [rows, width], the rows of a knowledge table without row 0.
      dimension: components or landmarks.

    Returns:
      [rows + 1, reduced width], float32; row 0 ("missing") is zeros.

    Raises:
      ValueError: the kind is unknown.
    """
    if kind == "means":
        reduced = unit_rows(principal_components(vectors, dimension, whiten=True))
    elif kind == "ridge":
        unit = unit_rows(
            np.asarray(vectors, np.float32) - np.mean(vectors, axis=0, dtype=np.float32)
        )
        landmarks = cluster_landmarks(unit, dimension)
        reduced = nystroem_features(unit, landmarks, RIDGE_LENGTH_SCALE, RIDGE_BIAS)
    else:
        raise ValueError(f"match kind must be one of {MATCH_KINDS}. Received: kind={kind!r}")
    return np.concatenate([np.zeros([1, reduced.shape[1]], np.float32), reduced])


@tf.keras.utils.register_keras_serializable(PACKAGE)
class KnowledgeMatch(tf.keras.layers.Layer):
    """Compares candidates with a rated history in knowledge space.

    With e_j = r_j - m_j the rating of history item j less that item's mean, and v the reduced
    vectors:

    - "means": for each length scale l the kernel-weighted mean residual sum_j w_j e_j / sum_j w_j
      with w_j = exp((cos(v_i, v_j) - 1) / l); the cosines between v_i and the sum of liked and of
      disliked vectors; the largest cosine to a liked and to a disliked vector. Six features.
    - "ridge": kernel ridge regression of the residuals on knowledge, in its low-rank form: with
      features phi of the item table, A = I + sum_j phi_j phi_j' / noise and c = sum_j phi_j e_j /
      noise, the posterior mean phi_i' A^-1 c and deviation sqrt(phi_i' A^-1 phi_i). Two features.
      One factorisation per history, whatever its length and however many candidates share it.

    An item without knowledge takes no part; a candidate without knowledge, or an empty history, has
    features of zeros (ridge: the prior deviation of an empty history).

    Shapes: candidate_rows [n], history tensors [n or 1, length] -> [n, num_features], float32. A
    history of batch 1 is shared by all candidates.

    Attributes:
      kind: "means" or "ridge".
      num_rows: rows of the item table, row 0 included.
      width: columns of the item table.
    """

    def __init__(
        self,
        kind: str,
        table: np.ndarray | None = None,
        num_rows: int | None = None,
        width: int | None = None,
        **kwargs: object,
    ):
        """Creates the layer over a table made by `match_table`.

        Raises:
          ValueError: the kind is unknown, or neither a table nor its shape is given.
        """
        super().__init__(**kwargs)
        if kind not in MATCH_KINDS:
            raise ValueError(f"match kind must be one of {MATCH_KINDS}. Received: kind={kind!r}")
        if table is not None:
            num_rows, width = table.shape
        elif num_rows is None or width is None:
            raise ValueError(
                "give the item table, or num_rows and width when its weights are loaded later"
            )
        self.kind, self.num_rows, self.width = kind, num_rows, width
        self.table = self.add_weight(
            name="table",
            shape=(num_rows, width),
            initializer="zeros" if table is None else tf.keras.initializers.Constant(table),
            trainable=False,
        )

    @property
    def num_features(self) -> int:
        """Features per candidate."""
        return len(MEANS_LENGTH_SCALES) + 4 if self.kind == "means" else 2

    def call(
        self,
        candidate_rows: tf.Tensor,
        history_rows: tf.Tensor,
        history_residuals: tf.Tensor,
        history_liked: tf.Tensor,
        history_mask: tf.Tensor,
    ) -> tf.Tensor:
        """Computes the features.

        Args:
          candidate_rows: int [n], rows of the item table.
          history_rows: int [n or 1, length].
          history_residuals: float [n or 1, length], rating less the item's mean rating.
          history_liked: float [n or 1, length], 1 where the rating counts as liked, else 0.
          history_mask: bool [n or 1, length], false on padding.

        Returns:
          float32 [n, num_features].
        """
        mask = tf.cast(history_mask & (history_rows > 0), tf.float32)
        candidates = tf.gather(self.table, candidate_rows)
        known = tf.cast(candidate_rows > 0, tf.float32)[:, tf.newaxis]
        if self.kind == "ridge":
            return self._ridge(candidates, history_rows, history_residuals, mask) * known
        return self._means(candidates, history_rows, history_residuals, history_liked, mask) * known

    def get_config(self) -> dict[str, object]:
        """Kind and table shape; the table itself is saved as a weight."""
        return {
            **super().get_config(),
            "kind": self.kind,
            "num_rows": self.num_rows,
            "width": self.width,
        }

    def _means(
        self,
        candidates: tf.Tensor,
        history_rows: tf.Tensor,
        residuals: tf.Tensor,
        liked: tf.Tensor,
        mask: tf.Tensor,
    ) -> tf.Tensor:
        history = tf.gather(self.table, history_rows)
        cosines = _products(candidates, history)
        features = []
        for length_scale in MEANS_LENGTH_SCALES:
            # The largest exponent is taken out, or distant histories would divide tiny numbers.
            exponents = (cosines - 1.0) / length_scale + tf.where(mask > 0, 0.0, -1e9)
            weights = mask * tf.exp(exponents - tf.reduce_max(exponents, axis=1, keepdims=True))
            total = tf.reduce_sum(weights, axis=1)
            features.append(
                tf.math.divide_no_nan(tf.reduce_sum(weights * residuals, axis=1), total)
            )
        for share in (liked * mask, (1.0 - liked) * mask):
            summed = tf.einsum("nt,ntd->nd", share, history)
            norm = tf.norm(summed, axis=1)
            features.append(tf.math.divide_no_nan(tf.reduce_sum(candidates * summed, axis=1), norm))
        for share in (liked * mask, (1.0 - liked) * mask):
            largest = tf.reduce_max(tf.where(share > 0, cosines, -1.0), axis=1)
            features.append(tf.where(tf.reduce_any(share > 0, axis=1), largest, 0.0))
        return tf.stack(features, axis=1)

    def _ridge(
        self, candidates: tf.Tensor, history_rows: tf.Tensor, residuals: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        history = tf.gather(self.table, history_rows) * mask[:, :, tf.newaxis]
        precision = (
            tf.eye(self.width) + tf.linalg.matmul(history, history, transpose_a=True) / RIDGE_NOISE
        )
        evidence = tf.linalg.matvec(history, residuals, transpose_a=True) / RIDGE_NOISE
        factor = tf.linalg.cholesky(precision)
        whitened_evidence = tf.linalg.triangular_solve(factor, evidence[:, :, tf.newaxis])
        if factor.shape[0] == 1:
            whitened = tf.transpose(tf.linalg.triangular_solve(factor[0], tf.transpose(candidates)))
        else:
            whitened = tf.linalg.triangular_solve(factor, candidates[:, :, tf.newaxis])[:, :, 0]
        mean = tf.reduce_sum(whitened * whitened_evidence[:, :, 0], axis=1)
        deviation = tf.sqrt(tf.reduce_sum(tf.square(whitened), axis=1) + _EPSILON)
        return tf.stack([mean, deviation], axis=1)


def _products(candidates: tf.Tensor, history: tf.Tensor) -> tf.Tensor:
    """Inner products [n, length] of candidates [n, d] with histories [n or 1, length, d]."""
    if history.shape[0] == 1:
        return tf.linalg.matmul(candidates, history[0], transpose_b=True)
    return tf.linalg.matvec(history, candidates)
