"""xDeepFM: explicit interactions of bounded order beside a dense network."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, FieldStack, beside_numbers
from models.layer_support import PACKAGE, at_least_one_width
from models.layers.interaction import CompressedInteractionNetwork
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class ExtremeDeepFactorizationMachine(Backbone):
    """xDeepFM: a linear term, a Compressed Interaction Network and a dense network.

    logit = w' x + b + c' CIN(v) + u' MLP(x), over the fields v = [interest, candidate, side]
    and x = [v, numeric].

    Source: "xDeepFM: Combining Explicit and Implicit Feature Interactions for Recommender Systems"
    (arXiv 1803.05170), Eq. (6) and (7) and Section 3.3.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the dense network.
      dropout_rate: dropout after each of its layers.
      interaction_units: rows of every layer of the interaction network; layer k has order k + 1.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        interaction_units: Sequence[int] = (50, 50),
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        at_least_one_width(interaction_units=interaction_units)
        self.interaction_units = tuple(interaction_units)
        self._fields = FieldStack()
        self._linear = tf.keras.layers.Dense(1)
        self._interactions = CompressedInteractionNetwork(interaction_units)
        self._deep = top_network(top_units, dropout_rate, name="deep")
        self._logit = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        fields = self._fields(inputs, training=training)
        joined = beside_numbers(fields, inputs.numeric)
        deep = self._deep(joined, training=training)
        nonlinear = tf.concat([self._interactions(fields), deep], axis=1)
        return self._linear(joined) + self._logit(nonlinear)
