"""AutoInt: interactions learned by self-attention between fields."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, FieldStack, beside_numbers, flat
from models.layer_support import PACKAGE, positive_count
from models.layers.attention import FieldSelfAttention
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class AutomaticFeatureInteraction(Backbone):
    """AutoInt: every self-attention layer raises the order of the interactions.

    logit = w' x + b + c' SelfAttention(.. SelfAttention(v) ..) (+ u' MLP(x)), over the fields
    v = [interest, candidate, side, numbers] and x = [v, numeric].

    Source: "AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks"
    (arXiv 1810.11921), Eq. (5) to (9); numbers are a field by Eq. (4). With the deep part it is the
    paper's AutoInt+.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the deep part.
      dropout_rate: dropout of the attention weights and after each layer of the deep part.
      num_layers: self-attention layers.
      num_heads: heads of each of them.
      head_units: width of a head.
      scaled: whether products of queries and keys are divided by sqrt(head_units).
      residual: whether every layer adds its projected input.
      deep_part: whether a dense network scores beside the attention.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        num_layers: int = 3,
        num_heads: int = 1,
        head_units: int = 64,
        scaled: bool = True,
        residual: bool = True,
        deep_part: bool = False,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        positive_count(num_layers=num_layers, num_heads=num_heads, head_units=head_units)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.head_units = head_units
        self.scaled = scaled
        self.residual = residual
        self.deep_part = deep_part
        self._fields = FieldStack(numbers_as_field=True)
        self._linear = tf.keras.layers.Dense(1)
        self._attentions = [
            FieldSelfAttention(num_heads, head_units, scaled, residual, dropout_rate)
            for _ in range(num_layers)
        ]
        if deep_part:
            self._deep = top_network(top_units, dropout_rate, name="deep")
        self._logit = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        fields = self._fields(inputs, training=training)
        joined = beside_numbers(fields, inputs.numeric)
        attended = fields
        for attention in self._attentions:
            attended = attention(attended, training=training)
        nonlinear = flat(attended)
        if self.deep_part:
            nonlinear = tf.concat([nonlinear, self._deep(joined, training=training)], axis=1)
        return self._linear(joined) + self._logit(nonlinear)
