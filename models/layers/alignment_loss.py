"""The contrastive loss between what knowledge and what interactions say about an item."""

from __future__ import annotations

import tensorflow as tf

TEMPERATURE = 0.1

# Squared length from which a vector counts as at least that long. Without a bound, vectors close to
# zero would get gradients of any size.
_SMALLEST_SQUARE = 1e-6


def alignment_loss(
    augmented: tf.Tensor,
    ids: tf.Tensor,
    rows: tf.Tensor,
    valid: tf.Tensor,
    temperature: float = TEMPERATURE,
) -> tf.Tensor:
    """An item's augmented vector must find its own id embedding in the batch, and the reverse.

    With s_ij = cos(a_i, e_j) / temperature, over the rows j that are valid and hold another item
    than row i (or are row i itself),

        loss = -1/2 mean_i [log softmax_j(s_ij)_i + log softmax_j(s_ji)_i]

    which is InfoNCE (arXiv 1807.03748) in both directions. Text and id embeddings live in different
    spaces; where they are drawn together, knowledge takes up what interactions tell, and items with
    few interactions are carried by alike ones with many (CTRL, arXiv 2306.02841, aligns a language
    model and a ranking model so).

    Args:
      augmented: [n, width], augmented vectors of items.
      ids: [n, width], their id embeddings.
      rows: int [n], which item a row holds; two rows of one item are no negatives of each other.
      valid: bool [n], false where an item has no knowledge or its id was never trained.
      temperature: the smaller, the more the nearest negatives count.

    Returns:
      A float32 scalar; 0 where fewer than two rows are valid.
    """
    left, right = _directions(augmented), _directions(ids)
    scores = tf.linalg.matmul(left, right, transpose_b=True) / temperature
    own = tf.eye(tf.shape(rows)[0], dtype=tf.bool)
    other_item = rows[:, tf.newaxis] != rows[tf.newaxis, :]
    compared = own | (other_item & valid[tf.newaxis, :])
    losses = _own_share_loss(scores, compared) + _own_share_loss(tf.transpose(scores), compared)
    counted = tf.cast(valid, tf.float32)
    return tf.math.divide_no_nan(0.5 * tf.reduce_sum(losses * counted), tf.reduce_sum(counted))


def _directions(vectors: tf.Tensor) -> tf.Tensor:
    return tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=1, epsilon=_SMALLEST_SQUARE)


def _own_share_loss(scores: tf.Tensor, compared: tf.Tensor) -> tf.Tensor:
    """-log of the share that the diagonal has in the softmax over the compared columns, [n]."""
    masked = tf.where(compared, scores, tf.fill(tf.shape(scores), scores.dtype.min))
    return tf.reduce_logsumexp(masked, axis=1) - tf.linalg.diag_part(scores)
