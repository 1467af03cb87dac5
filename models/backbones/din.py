"""Deep Interest Network."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import BackboneInputs, flat
from models.layers.attention import TargetAttention
from models.layers.top_network import top_network
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DeepInterestNetwork(tf.keras.layers.Layer):
    """DIN: the history is pooled by attention with the candidate, then a dense network scores.

    logit = w' MLP([attention(candidate, history), candidate, numeric, augmented]) + b

    Source: "Deep Interest Network for Click-Through Rate Prediction" (arXiv 1706.06978). Augmented
    vectors enter the top network beside the interest, as in REKI (arXiv 2408.10520).

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the top network.
      dropout_rate: dropout after each of its layers.
    """

    def __init__(
        self, top_units: Sequence[int] = (200, 80), dropout_rate: float = 0.0, **kwargs: object
    ):
        """Creates the layers."""
        super().__init__(**kwargs)
        self.top_units = tuple(top_units)
        self.dropout_rate = dropout_rate
        self._attention = TargetAttention()
        self._top = top_network(top_units, dropout_rate)
        self._logit = tf.keras.layers.Dense(1)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        candidate = flat(inputs.candidate)
        interest = self._attention(
            (candidate, inputs.history, inputs.history_mask), training=training
        )
        joined = tf.concat([interest, candidate, inputs.numeric, flat(inputs.augmented)], axis=1)
        return self._logit(self._top(joined, training=training))

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "top_units": list(self.top_units),
            "dropout_rate": self.dropout_rate,
        }
