"""Deep Interest Network."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, flat
from models.layer_support import PACKAGE, one_of
from models.layers.attention import TargetAttention
from models.layers.normalization import DICE_STATISTICS
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DeepInterestNetwork(Backbone):
    """DIN: the history is pooled by attention with the candidate, then a dense network scores.

    logit = w' MLP([attention(candidate, history), candidate, numeric, side]) + b

    Source: "Deep Interest Network for Click-Through Rate Prediction" (arXiv 1706.06978). Augmented
    vectors enter the top network beside the interest, as in REKI (arXiv 2408.10520).

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the top network.
      dropout_rate: dropout after each of its layers.
      attention_softmax: whether attention scores are normalised (`models.layers.attention`).
      dice_statistics: "moving", or "batch" for the authors' arithmetic
        (`models.layers.normalization`).
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        attention_softmax: bool = False,
        dice_statistics: str = "moving",
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        one_of(DICE_STATISTICS, dice_statistics=dice_statistics)
        self.attention_softmax = attention_softmax
        self.dice_statistics = dice_statistics
        self._attention = TargetAttention(
            softmax=attention_softmax, dice_statistics=dice_statistics
        )
        self._top = top_network(top_units, dropout_rate)
        self._logit = tf.keras.layers.Dense(1)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        candidate = flat(inputs.candidate)
        interest = self._attention(
            (candidate, inputs.history, inputs.history_mask), training=training
        )
        joined = tf.concat([interest, candidate, inputs.numeric, flat(inputs.side_fields)], axis=1)
        return self._logit(self._top(joined, training=training))
