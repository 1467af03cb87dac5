"""Deep & Cross Network, version 2."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.backbones.base import BackboneInputs, flat
from models.layer_support import PACKAGE, positive_count, top_network_options
from models.layers.attention import TargetAttention
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DeepCrossNetworkV2(tf.keras.layers.Layer):
    """DCN v2: explicit feature crosses beside a dense network.

    x_{l+1} = x_0 * (W_l x_l + b_l) + x_l with full matrices W_l; logit = w' [x_L, MLP(x_0)] + b,
    over x_0 = [attention(candidate, history), candidate, numeric, side].

    Source: "DCN V2" (arXiv 2008.13535), Eq. (1), parallel structure; the crosses are TensorFlow
    Recommenders' own layer. The history is pooled with regard to the candidate, so that DCN v2 is
    as strong a baseline as DIN.

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
        super().__init__(**kwargs)
        top_network_options(top_units, dropout_rate)
        positive_count(num_crosses=num_crosses)
        self.top_units = tuple(top_units)
        self.dropout_rate = dropout_rate
        self.num_crosses = num_crosses
        self._attention = TargetAttention()
        self._crosses = [tfrs.layers.dcn.Cross() for _ in range(num_crosses)]
        self._deep = top_network(top_units, dropout_rate, name="deep")
        self._logit = tf.keras.layers.Dense(1)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        candidate = flat(inputs.candidate)
        interest = self._attention(
            (candidate, inputs.history, inputs.history_mask), training=training
        )
        first = tf.concat([interest, candidate, inputs.numeric, flat(inputs.side_fields)], axis=1)
        crossed = first
        for cross in self._crosses:
            crossed = cross(first, crossed)
        deep = self._deep(first, training=training)
        return self._logit(tf.concat([crossed, deep], axis=1))

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "top_units": list(self.top_units),
            "dropout_rate": self.dropout_rate,
            "num_crosses": self.num_crosses,
        }
