"""DeepFM: a factorization machine beside a dense network."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, FieldStack, beside_numbers
from models.layer_support import PACKAGE
from models.layers.interaction import FactorizationMachine
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DeepFactorizationMachine(Backbone):
    """DeepFM: first order, all pairs of fields and a dense network share their embeddings.

    logit = w' x + b + sum_{i<j} v_i' v_j + u' MLP(x), over the fields v = [interest, candidate,
    side] and x = [v, numeric].

    Source: "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction" (arXiv
    1703.04247), Eq. (1) and (2). The first order is linear in the embeddings, so that augmented
    vectors and the interest, which are not ids, take part.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the dense network.
      dropout_rate: dropout after each of its layers.
    """

    def __init__(
        self, top_units: Sequence[int] = (200, 80), dropout_rate: float = 0.0, **kwargs: object
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        self._fields = FieldStack()
        self._linear = tf.keras.layers.Dense(1)
        self._second_order = FactorizationMachine()
        self._deep = top_network(top_units, dropout_rate, name="deep")
        self._logit = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        fields = self._fields(inputs, training=training)
        joined = beside_numbers(fields, inputs.numeric)
        deep = self._logit(self._deep(joined, training=training))
        return self._linear(joined) + self._second_order(fields) + deep
