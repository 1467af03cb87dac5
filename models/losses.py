"""Losses: weighted classes, lists of candidates, and alignment of knowledge with interactions."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

EQUAL_WEIGHTS = (1.0, 1.0)


def label_weights(labels: tf.Tensor, class_weights: Sequence[float]) -> tf.Tensor | None:
    """What the losses of samples are multiplied by; their mean is still over all samples.

    With weights (w_0, w_1) the loss is 1/n sum_i w_(y_i) loss_i. Only the ratio w_1 / w_0 moves the
    optimum; it multiplies the odds that the model tells, so that scores are no probabilities then.

    Args:
      labels: 0 or 1, [...].
      class_weights: of labels 0 and 1.

    Returns:
      float32, of the labels' shape; None if both weights are 1.
    """
    if tuple(class_weights) == EQUAL_WEIGHTS:
        return None
    negative_weight, positive_weight = class_weights
    return tf.where(tf.cast(labels, tf.float32) > 0.5, positive_weight, negative_weight)


def pointwise_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    mask: tf.Tensor,
    class_weights: Sequence[float] = EQUAL_WEIGHTS,
) -> tf.Tensor:
    """Binary cross entropy of every real candidate by itself, their mean.

    Args:
      logits: [b, L].
      labels: [b, L], 0 or 1.
      mask: bool [b, L], false on padding.
      class_weights: weights of the losses of candidates with label 0 and label 1
        (`models.losses`).

    Returns:
      A float32 scalar; 0 where nothing is real.
    """
    losses = tf.nn.sigmoid_cross_entropy_with_logits(
        labels=tf.cast(labels, tf.float32), logits=tf.cast(logits, tf.float32)
    )
    weights = label_weights(labels, class_weights)
    return _mean_where(losses if weights is None else losses * weights, mask)


def count_candidates(labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Number of candidates over which `pointwise_loss` is the mean, a float32 scalar."""
    del labels
    return tf.reduce_sum(tf.cast(mask, tf.float32))


def listwise_loss(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Cross entropy of a list's softmax, the mean over lists that hold a positive.

    loss = -sum_i y_i / (sum_k y_k) log softmax(logits)_i, over the real candidates i of the list.

    Source: the loss of "Personalized Re-ranking for Recommendation" (arXiv 1904.06813), section
    4.4, with labels that sum to 1, so that every list counts alike. A list without a positive says
    nothing about its order.

    Args:
      logits: [b, L].
      labels: [b, L], 0 or more.
      mask: bool [b, L], false on padding.

    Returns:
      A float32 scalar; 0 where no list holds a positive.
    """
    labels, total = _real(labels, mask)
    shares = tf.math.divide_no_nan(labels, total)
    log_probabilities = tf.nn.log_softmax(_hidden(logits, mask))
    losses = -tf.reduce_sum(shares * tf.where(mask, log_probabilities, 0.0), axis=1)
    return _mean_where(losses, total[:, 0] > 0)


def count_lists(labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Number of lists over which `listwise_loss` is the mean, a float32 scalar."""
    _, total = _real(labels, mask)
    return tf.reduce_sum(tf.cast(total > 0, tf.float32))


def list_probabilities(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Softmax over the real candidates of each list: [b, L], 0 on padding."""
    return tf.where(mask, tf.nn.softmax(_hidden(logits, mask)), 0.0)


LIST_LOSSES = {"pointwise": pointwise_loss, "listwise": listwise_loss}
LOSS_COUNTS = {"pointwise": count_candidates, "listwise": count_lists}


def _real(labels: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Labels with 0 on padding, [b, L], and their sum in each list, [b, 1]."""
    labels = tf.where(mask, tf.cast(labels, tf.float32), 0.0)
    return labels, tf.reduce_sum(labels, axis=1, keepdims=True)


def _hidden(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    # Not the smallest number, whose difference to a logit would be no number.
    return tf.where(mask, tf.cast(logits, tf.float32), -1e30)


def _mean_where(losses: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(tf.where(counted, losses, 0.0))
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(counted, tf.float32)))


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
