"""Deep Learning Recommendation Model."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.backbones.base import Backbone, BackboneInputs, FieldStack
from models.layer_support import PACKAGE, positive_widths
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DeepLearningRecommendationModel(Backbone):
    """DLRM: the numbers become one more field; a dense network sees dot products, not embeddings.

    z = MLP_bottom(numeric),   p = [f_i' f_j for i < j] over f = [z, interest, candidate, side]
    logit = w' MLP_top([z, p]) + u' numeric + b

    Source: "Deep Learning Recommendation Model for Personalization and Recommendation Systems"
    (arXiv 1906.00091), section 2; the products are TensorFlow Recommenders' own layer. The linear
    term of the numbers is ours: a strong number (a match feature) reaches the logit without passing
    through two networks.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the top network.
      dropout_rate: dropout after each of its layers.
      bottom_units: widths of the bottom network before its last layer, which has a field's width.
      self_interaction: whether f_i' f_i are among the products.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        bottom_units: Sequence[int] = (64,),
        self_interaction: bool = False,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        positive_widths(bottom_units=bottom_units)
        self.bottom_units = tuple(bottom_units)
        self.self_interaction = self_interaction
        self._fields = FieldStack()
        # In float16 it asks for an operation that TensorFlow lacks on CPUs.
        self._products = tfrs.layers.feature_interaction.DotInteraction(
            self_interaction, dtype=tf.float32
        )
        self._linear = tf.keras.layers.Dense(1)
        self._top = top_network(top_units, dropout_rate)
        self._logit = tf.keras.layers.Dense(1, use_bias=False)

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the bottom network."""
        width = BackboneInputs(*input_shape).candidate[-1]
        self._bottom = top_network((*self.bottom_units, width), dropout_rate=0.0, name="bottom")
        super().build(input_shape)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        dense = self._bottom(inputs.numeric)
        fields = self._fields(inputs, training=training)
        products = self._products([dense, *tf.unstack(fields, axis=1)])
        products = tf.cast(products, dense.dtype)
        top = self._top(tf.concat([dense, products], axis=1), training=training)
        return self._logit(top) + self._linear(inputs.numeric)
