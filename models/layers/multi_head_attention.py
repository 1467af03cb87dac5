"""Multi-head attention between two sets."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.attention_heads import (
    by_head,
    head_projections,
    head_scores,
    side_by_side,
)
from models.layers.masking import masked_softmax, without_padding
from models.option_checks import dividing_heads
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MaskedMultiHeadAttention(tf.keras.layers.Layer):
    """Every query gathers from the members that are real; from none of them it gathers zeros.

    head_h = softmax(Q W_h^Q (X W_h^K)' / sqrt(units / heads)) X W_h^V
    attention(Q, X) = [head_1, ..., head_H] W^O

    Source: "Attention Is All You Need" (arXiv 1706.03762), section 3.2. Neither order nor number of
    the members is known to the weights.

    Shapes: queries [b, q, query width], members [b, k, width], mask [b, k] -> [b, q, units].

    Attributes:
      units: width of the output.
      num_heads: attention heads; must divide `units`.
    """

    def __init__(self, units: int = 64, num_heads: int = 4, **kwargs: object):
        """Creates the layer.

        Raises:
          ValueError: the heads do not divide the units.
        """
        super().__init__(**kwargs)
        dividing_heads(num_heads, units=units)
        self.units = units
        self.num_heads = num_heads
        self._query, self._key, self._value, self._heads_out = head_projections(units)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Attends.

        Args:
          inputs: queries [b, q, query width], members [b, k, width], mask bool [b, k], false on
            padding.

        Returns:
          [b, q, units].
        """
        queries, members, mask = inputs
        members = without_padding(members, mask)
        query, key, value = (
            by_head(projected, self.num_heads)
            for projected in (self._query(queries), self._key(members), self._value(members))
        )
        weights = masked_softmax(head_scores(query, key), mask[:, tf.newaxis, tf.newaxis])
        return self._heads_out(side_by_side(tf.matmul(weights, value)))

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units, "num_heads": self.num_heads}
