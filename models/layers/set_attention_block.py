"""One block of a transformer between two sets."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.attending_block import AttendingBlock
from models.layers.multi_head_attention import MaskedMultiHeadAttention
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SetAttentionBlock(AttendingBlock):
    """Attention of a set to another one, or to itself, then a feed-forward network for each member.

    B = LayerNorm(Q + Dropout(attention(Q, X)))
    block(Q, X) = LayerNorm(B + Dropout(ReLU(B W_1 + b_1) W_2 + b_2))

    Source: the multi-head attention block of "SetRank" (arXiv 1912.05891), section 3.3, and the
    encoder block of "Personalized Re-ranking for Recommendation" (arXiv 1904.06813), section 4.3:
    the same block, that of "Attention Is All You Need" (arXiv 1706.03762), without positions.
    A permutation of the queries permutes the output; one of the members changes nothing.

    Shapes: queries [b, q, width], members [b, k, any width], mask of the members [b, k] ->
    [b, q, width].

    Attributes:
      num_heads: attention heads; must divide the width of the queries.
      feed_forward_units: hidden width of the feed-forward network.
      dropout_rate: dropout of what attention and feed-forward network add, in training only.
    """

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates attention and feed-forward network, as wide as a query."""
        width = input_shape[0][-1]
        self._attention = MaskedMultiHeadAttention(width, self.num_heads)
        self._build_transformation(width, tf.nn.relu)
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Attends and transforms.

        Args:
          inputs: queries [b, q, width], members [b, k, any width], mask bool [b, k], false on
            padding.
          training: whether dropout is active.

        Returns:
          [b, q, width].
        """
        queries, members, mask = inputs
        attended = self._attention((queries, members, mask))
        return self._transformed(queries, attended, training)
