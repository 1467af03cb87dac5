"""One block of a transformer over a user's history and a candidate."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.attending_block import AttendingBlock
from models.layers.attention_heads import (
    by_head,
    head_projections,
    head_scores,
    side_by_side,
)
from models.layers.masking import without_padding
from models.option_checks import dividing_heads
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class TransformerBlock(AttendingBlock):
    """Self-attention over the steps of a history and its candidate, then a feed-forward network.

    S = [history, candidate]
    head = softmax(S W_Q (S W_K)' / sqrt(width / heads)) S W_V,   MH(S) = [head_1, ..., head_h] W_H
    S' = LayerNorm(S + Dropout(MH(S)))
    F = LayerNorm(S' + Dropout(LeakyReLU(S' W_1 + b_1) W_2 + b_2))

    Source: "Behavior Sequence Transformer for E-commerce Recommendation in Alibaba"
    (arXiv 1905.06874), section 2.2. Nothing attends to padding. The candidate attends to itself, so
    that an empty history is no special case.

    With `candidate_only` the block answers for the candidate alone: one row of the attention in
    place of all of them, and the keys and values of a shared history are computed once.

    Shapes: candidate [n, width], history [n or 1, length, width], mask [n or 1, length] ->
    [n, length + 1, width], the candidate last; with `candidate_only` [n, 1, width].

    Attributes:
      num_heads: attention heads; must divide the width.
      feed_forward_units: hidden width of the feed-forward network.
      dropout_rate: dropout of what attention and feed-forward network add, in training only.
      candidate_only: whether only the candidate's output is computed.
    """

    def __init__(
        self,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        dropout_rate: float = 0.0,
        candidate_only: bool = False,
        **kwargs: object,
    ):
        """Creates the block."""
        super().__init__(num_heads, feed_forward_units, dropout_rate, **kwargs)
        self.candidate_only = candidate_only

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the projections and the feed-forward network.

        Raises:
          ValueError: the heads do not divide the width.
        """
        width = input_shape[0][-1]
        dividing_heads(self.num_heads, width=width)
        self._query, self._key, self._value, self._heads_out = head_projections(width)
        self._build_transformation(width, tf.nn.leaky_relu)
        super().build(input_shape)

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor], training: bool | None = None
    ) -> tf.Tensor:
        """Attends and transforms.

        Args:
          inputs: candidate [n, width], history [n or 1, length, width], mask bool [n or 1, length].
          training: whether dropout is active.

        Returns:
          [n, length + 1, width], or [n, 1, width] with `candidate_only`.
        """
        candidate, history, mask = inputs
        history = without_padding(history, mask)
        candidate = candidate[:, tf.newaxis]
        if self.num_heads == 1:
            # With one head a history of batch 1 must not be left to broadcasting: oneDNN's batched
            # product of [n, 1, a, d] and [1, 1, d, b] is wrong (TensorFlow 2.21).
            history = for_every_candidate(history, candidate)
        steps = candidate
        if not self.candidate_only:
            steps = tf.concat([for_every_candidate(history, candidate), candidate], axis=1)
        attended = self._attention(steps, candidate, history, mask)
        return self._transformed(steps, attended, training)

    def _attention(
        self, steps: tf.Tensor, candidate: tf.Tensor, history: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Attention of every given step to the history and the candidate: [n, steps, width].

        Scores for history and candidate are computed apart and joined: the products broadcast a
        history of batch 1, which therefore is not repeated.
        """
        query = by_head(self._query(steps), self.num_heads)
        scores = tf.concat(
            [
                head_scores(query, by_head(self._key(part), self.num_heads))
                for part in (history, candidate)
            ],
            axis=-1,
        )
        attends = tf.pad(mask, [[0, 0], [0, 1]], constant_values=True)[:, tf.newaxis, tf.newaxis]
        weights = tf.nn.softmax(tf.where(attends, scores, scores.dtype.min))
        length = tf.shape(history)[1]
        values = [by_head(self._value(part), self.num_heads) for part in (history, candidate)]
        pooled = tf.matmul(weights[..., :length], values[0])
        pooled += tf.matmul(weights[..., length:], values[1])
        return self._heads_out(side_by_side(pooled))

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "candidate_only": self.candidate_only}


def for_every_candidate(history: tf.Tensor, candidate: tf.Tensor) -> tf.Tensor:
    """Repeats a history of batch 1: [n or 1, length, width], [n, ...] -> [n, length, width]."""
    shape = [tf.shape(candidate)[0], tf.shape(history)[1], history.shape[-1]]
    return tf.broadcast_to(history, shape)
