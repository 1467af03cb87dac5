"""Deep & Cross Network, version 1."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, flat
from models.layer_support import PACKAGE, positive_count
from models.layers.attention import TargetAttention
from models.layers.interaction import VectorCross
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DeepCrossNetwork(Backbone):
    """DCN v1: crosses with one weight vector each beside a dense network.

    x_{l+1} = x_0 (x_l' w_l) + b_l + x_l; logit = w' [x_L, MLP(x_0)] + b, over
    x_0 = [attention(candidate, history), candidate, numeric, side].

    Source: "Deep & Cross Network for Ad Click Predictions" (arXiv 1708.05123), Eq. (3) and (5). The
    history is pooled with regard to the candidate, so that DCN is as strong a baseline as DIN.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the dense network.
      dropout_rate: dropout after each of its layers.
      num_crosses: cross layers.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        num_crosses: int = 3,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        positive_count(num_crosses=num_crosses)
        self.num_crosses = num_crosses
        self._attention = TargetAttention()
        self._crosses = [self.new_cross() for _ in range(num_crosses)]
        self._deep = top_network(top_units, dropout_rate, name="deep")
        self._logit = tf.keras.layers.Dense(1)

    def new_cross(self) -> tf.keras.layers.Layer:
        """A cross layer of this version."""
        return VectorCross()

    def crossed(
        self, cross: tf.keras.layers.Layer, first: tf.Tensor, crossed: tf.Tensor
    ) -> tf.Tensor:
        """x_{l+1} of a cross layer, x_0 and x_l."""
        return cross((first, crossed))

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        candidate = flat(inputs.candidate)
        interest = self._attention(
            (candidate, inputs.history, inputs.history_mask), training=training
        )
        first = tf.concat([interest, candidate, inputs.numeric, flat(inputs.side_fields)], axis=1)
        crossed = first
        for cross in self._crosses:
            crossed = self.crossed(cross, first, crossed)
        deep = self._deep(first, training=training)
        return self._logit(tf.concat([crossed, deep], axis=1))
