"""FiBiNET: bilinear interactions of fields, plain and weighted by importance."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, FieldStack, beside_numbers
from models.layer_support import PACKAGE, one_of, positive
from models.layers.gates import EXCITATION_ACTIVATIONS, SqueezeExcitation
from models.layers.interaction import BILINEAR_KINDS, BilinearInteraction
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FeatureImportanceBilinearNetwork(Backbone):
    """FiBiNET: a dense network over the bilinear interactions of all pairs of fields.

    p = bilinear(v), q = bilinear'(SENet(v)), logit = w' x + b + u' MLP([p, q, numeric]), over the
    fields v = [interest, candidate, side] and x = [v, numeric].

    Source: "FiBiNET: Combining Feature Importance and Bilinear feature Interaction for
    Click-Through Rate Prediction" (arXiv 1905.09433), Sections 3.3 to 3.7.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the dense network.
      dropout_rate: dropout after each of its layers.
      bilinear_kind: "field_all", "field_each" or "field_interaction": what shares a matrix.
      excitation_factor: hidden units per field of the SENet; 1/r for the paper's ratio r.
      excitation_activation: of the SENet's weights, "relu" or "sigmoid".
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        bilinear_kind: str = "field_all",
        excitation_factor: float = 2.0,
        excitation_activation: str = "relu",
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        one_of(BILINEAR_KINDS, bilinear_kind=bilinear_kind)
        positive(excitation_factor=excitation_factor)
        one_of(EXCITATION_ACTIVATIONS, excitation_activation=excitation_activation)
        self.bilinear_kind = bilinear_kind
        self.excitation_factor = excitation_factor
        self.excitation_activation = excitation_activation
        self._fields = FieldStack()
        self._linear = tf.keras.layers.Dense(1)
        self._importance = SqueezeExcitation(excitation_factor, excitation_activation)
        self._plain_pairs = BilinearInteraction(bilinear_kind, name="plain_pairs")
        self._weighted_pairs = BilinearInteraction(bilinear_kind, name="weighted_pairs")
        self._deep = top_network(top_units, dropout_rate, name="deep")
        self._logit = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        fields = self._fields(inputs, training=training)
        pairs = tf.concat(
            [self._plain_pairs(fields), self._weighted_pairs(self._importance(fields))], axis=1
        )
        deep = self._deep(beside_numbers(pairs, inputs.numeric), training=training)
        return self._linear(beside_numbers(fields, inputs.numeric)) + self._logit(deep)
