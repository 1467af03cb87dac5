"""Match by kernel ridge regression of the residuals on knowledge, in two forms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.match.kinds import MatchMethod
from models.reduction import KERNEL_JITTER, cosine_kernel

_LEAST, _MOST = 1e-3, 1e3


class PositiveParameter:
    """A positive number (or several) that a layer uses, trained through its logarithm or fixed.

    Trained values stay between 0.001 and 1000, where the linear algebra is safe.
    """

    def __init__(
        self, layer: tf.keras.layers.Layer, name: str, value: float | Sequence[float], learned: bool
    ):
        """Gives the layer a trained weight `log_<name>` if it is learned."""
        self._constant = value
        self._logarithm = None
        if learned:
            initial = tf.math.log(tf.constant(value, tf.float32)).numpy()
            self._logarithm = layer.add_weight(
                name=f"log_{name}",
                shape=initial.shape,
                initializer=tf.keras.initializers.Constant(initial),
                constraint=_within_bounds,
            )

    def __call__(self) -> tf.Tensor:
        """Its value now, float32."""
        if self._logarithm is None:
            return tf.constant(self._constant, tf.float32)
        return tf.exp(self._logarithm)


def _within_bounds(logarithm: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(logarithm, math.log(_LEAST), math.log(_MOST))


_LEAST_VARIANCE = 1e-6
_EXACT_JITTER = 1e-5


def low_rank_ridge(
    candidates: tf.Tensor, history: tf.Tensor, residuals: tf.Tensor, noise: tf.Tensor
) -> tf.Tensor:
    """Ridge in the space of features phi whose inner products are the kernel.

    A = I + sum_j phi_j phi_j' / noise, c = sum_j phi_j e_j / noise; mean = phi_i' A^-1 c, deviation
    = sqrt(phi_i' A^-1 phi_i). One factorisation per user, whatever the number of interactions and
    candidates.

    Args:
      candidates: [users, candidates, width], features.
      history: [users, length, width], features; zeros take no part.
      residuals: [users, length].
      noise: variance of a rating.

    Returns:
      [users, candidates, 2].
    """
    if history.shape[0] == 1:
        return _low_rank_ridge_of_one(candidates[0], history[0], residuals, noise)[tf.newaxis]
    width = history.shape[2]
    precision = tf.linalg.matmul(history, history, transpose_a=True) / noise + tf.eye(width)
    evidence = tf.linalg.matmul(residuals[:, tf.newaxis], history) / noise
    factor = tf.linalg.cholesky(precision)
    mean, variance = _explained(factor, evidence, candidates)
    return _mean_and_deviation(mean, variance)


def _low_rank_ridge_of_one(
    candidates: tf.Tensor, history: tf.Tensor, residuals: tf.Tensor, noise: tf.Tensor
) -> tf.Tensor:
    """`low_rank_ridge` for one user with many candidates, as a request has them.

    Products of plain matrices, and no transposition of the candidates, take half the time of those
    of batches. The inverse of the factor is exact enough: no eigenvalue of A is below 1.

    Args:
      candidates: [candidates, width].
      history: [length, width].
      residuals: [1, length].
      noise: variance of a rating.

    Returns:
      [candidates, 2].
    """
    identity = tf.eye(history.shape[1])
    precision = tf.linalg.matmul(history, history, transpose_a=True) / noise + identity
    evidence = tf.linalg.matmul(residuals, history) / noise
    inverse = tf.linalg.triangular_solve(tf.linalg.cholesky(precision), identity)
    solved = tf.linalg.matmul(tf.concat([evidence, candidates], axis=0), inverse, transpose_b=True)
    mean = tf.linalg.matvec(solved[1:], solved[0])
    return _mean_and_deviation(mean, tf.reduce_sum(tf.square(solved[1:]), axis=1))


def exact_ridge(
    candidates: tf.Tensor,
    history: tf.Tensor,
    residuals: tf.Tensor,
    mask: tf.Tensor,
    length_scale: tf.Tensor,
    bias: tf.Tensor,
    noise: tf.Tensor,
) -> tf.Tensor:
    """Ridge in the space of interactions.

    K_jk = bias + exp((cos(v_j, v_k) - 1) / length_scale); mean = k_i' (K + noise I)^-1 e, deviation
    = sqrt(bias + 1 - k_i' (K + noise I)^-1 k_i).

    Args:
      candidates: [users, candidates, width], vectors of length 1.
      history: [users, length, width], likewise.
      residuals: [users, length], 0 where the mask is.
      mask: [users, length], 1 or 0; the rest takes no part.
      length_scale: of the kernel.
      bias: constant part of the kernel.
      noise: variance of a rating.

    Returns:
      [users, candidates, 2].
    """

    def kernel(left: tf.Tensor) -> tf.Tensor:
        cosines = tf.linalg.matmul(left, history, transpose_b=True)
        return (bias + tf.exp((cosines - 1.0) / length_scale)) * mask[:, tf.newaxis]

    # A masked interaction's row is that of noise times the identity: it explains nothing.
    among = kernel(history) * mask[:, :, tf.newaxis]
    diagonal = tf.linalg.diag_part(among) + noise + _EXACT_JITTER
    factor = tf.linalg.cholesky(tf.linalg.set_diag(among, diagonal))
    mean, explained = _explained(factor, residuals[:, tf.newaxis], kernel(candidates))
    return _mean_and_deviation(mean, bias + 1.0 - explained)


def ridge_contributions(
    method: MatchMethod, candidates: np.ndarray, history: np.ndarray, residuals: np.ndarray
) -> np.ndarray:
    """What each interaction of one user adds to the mean of each candidate.

    The mean is linear in the residuals, mean_i = sum_j w_ij e_j with w_i = (K + noise I)^-1 k_i, so
    interaction j adds w_ij e_j: by that much the mean would be another one had the user thought of
    item j what others do. In the low-rank form w_ij = phi_i' A^-1 phi_j / noise, which is the same
    for K = Phi Phi'.

    Args:
      method: ridge, its form and parameters.
      candidates: [candidates, width], as of `low_rank_ridge` or `exact_ridge`.
      history: [length, width], likewise; no padding.
      residuals: [length].

    Returns:
      [candidates, length], float64, whose rows add up to the means.
    """
    candidates, history = candidates.astype(np.float64), history.astype(np.float64)
    if method.form == "low_rank":
        precision = history.T @ history / method.noise + np.eye(history.shape[1])
        weights = candidates @ np.linalg.solve(precision, history.T) / method.noise
    else:
        among = cosine_kernel(history @ history.T, method.length_scale, method.bias)
        among += (method.noise + _EXACT_JITTER) * np.eye(len(history))
        kernel = cosine_kernel(candidates @ history.T, method.length_scale, method.bias)
        weights = np.linalg.solve(among, kernel.T).T
    return weights * residuals


def whitening(landmark_cosines: tf.Tensor, length_scale: tf.Tensor) -> tf.Tensor:
    """Transposed inverse Cholesky factors of the landmarks' kernel matrices.

    `k_Z(v)' whitening` are the Nystroem features of `models.reduction.nystroem_features`. In
    float64, because near landmarks make the matrix almost singular.

    Args:
      landmark_cosines: [tables, landmarks, landmarks].
      length_scale: of the kernel.

    Returns:
      [tables, landmarks, landmarks], float32.
    """
    scale = tf.cast(length_scale, tf.float64)
    kernel = tf.exp((tf.cast(landmark_cosines, tf.float64) - 1.0) / scale)
    identity = tf.eye(
        landmark_cosines.shape[1], batch_shape=[landmark_cosines.shape[0]], dtype=tf.float64
    )
    factor = tf.linalg.cholesky(kernel + KERNEL_JITTER * identity)
    inverse = tf.linalg.triangular_solve(factor, identity)
    return tf.cast(tf.linalg.matrix_transpose(inverse), tf.float32)


def _explained(
    factor: tf.Tensor, evidence: tf.Tensor, candidates: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The products k' (L L')^-1 e and k' (L L')^-1 k: [users, candidates] each.

    Shapes: factor L [users, width, width], evidence e [users, 1, width], candidates k [users,
    candidates, width].
    """
    right_sides = tf.linalg.matrix_transpose(tf.concat([evidence, candidates], axis=1))
    solved = tf.linalg.triangular_solve(factor, right_sides)
    evidence, candidates = solved[:, :, :1], solved[:, :, 1:]
    return (
        tf.reduce_sum(evidence * candidates, axis=1),
        tf.reduce_sum(tf.square(candidates), axis=1),
    )


def _mean_and_deviation(mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
    return tf.stack([mean, tf.sqrt(tf.maximum(variance, _LEAST_VARIANCE))], axis=-1)
