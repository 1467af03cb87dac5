"""Match by kernel-weighted means."""

from __future__ import annotations

import tensorflow as tf


def means_features(
    candidates: tf.Tensor,
    history: tf.Tensor,
    residuals: tf.Tensor,
    liked: tf.Tensor,
    mask: tf.Tensor,
    length_scales: tf.Tensor,
) -> tf.Tensor:
    """Mean residuals near the candidate, and its cosines with what was liked and disliked.

    For each length scale l: sum_j w_j e_j / sum_j w_j with w_j = exp((cos(v_i, v_j) - 1) / l); then
    the cosines between v_i and the sum of liked and of disliked vectors; then the largest cosine to
    a liked and to a disliked vector. What does not exist is 0.

    Args:
      candidates: [users, candidates, width], of length 1 or 0.
      history: [users, length, width], likewise.
      residuals: [users, length], 0 where the mask is.
      liked: [users, length], 1 or 0.
      mask: [users, length], 1 or 0.
      length_scales: [2].

    Returns:
      [users, candidates, 6].
    """
    cosines = tf.linalg.matmul(candidates, history, transpose_b=True)
    features = []
    targets = tf.stack([residuals, mask], axis=2)
    hidden = tf.where(mask > 0, 0.0, -1e9)[:, tf.newaxis]
    for length_scale in tf.unstack(length_scales):
        exponents = (cosines - 1.0) / length_scale + hidden
        # The largest exponent is taken out, or distant histories would divide tiny numbers.
        largest = tf.reduce_max(exponents, axis=2, keepdims=True)
        sums = tf.linalg.matmul(tf.exp(exponents - tf.stop_gradient(largest)), targets)
        features.append(tf.math.divide_no_nan(sums[:, :, 0], sums[:, :, 1]))
    sides = (liked * mask, (1.0 - liked) * mask)
    shares = tf.stack(sides, axis=1)
    squared_norms = tf.reduce_sum(tf.square(tf.linalg.matmul(shares, history)), axis=2)
    inner_products = tf.linalg.matmul(cosines, shares, transpose_b=True)
    norms = tf.sqrt(squared_norms)[:, tf.newaxis]
    features += tf.unstack(tf.math.divide_no_nan(inner_products, norms), axis=2)
    for side in sides:
        share = side[:, tf.newaxis]
        largest = tf.reduce_max(tf.where(share > 0, cosines, -1.0), axis=2)
        features.append(tf.where(tf.reduce_any(share > 0, axis=2), largest, 0.0))
    return tf.stack(features, axis=2)
