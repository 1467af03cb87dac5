"""Product-based Neural Network."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, FieldStack, beside_numbers
from models.layer_support import PACKAGE, one_of
from models.layers.interaction import InnerProducts, OuterProduct
from models.layers.top_network import top_network

PRODUCTS = ("inner", "outer", "both")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class ProductNetwork(Backbone):
    """PNN: a dense network whose first layer sees fields and products of fields.

    l_1 = ReLU(W_z z + W_p p + b_1),   logit = w' MLP(l_1) + u' numeric + b

    with the linear signals z = [interest, candidate, side, numeric] and the quadratic signals
    p: "inner" (IPNN) v_i' v_j for all pairs of fields; "outer" (OPNN) sum_ij v_i v_j'; "both"
    (PNN*) one beside the other. l_1 is the first layer of `top_units`.

    Source: "Product-based Neural Networks for User Response Prediction" (arXiv 1611.00144),
    Eq. (1) to (3) and sections III-B and III-C. The linear term of the numbers is ours.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the dense network.
      dropout_rate: dropout after each of its layers.
      product: "inner", "outer" or "both".
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        product: str = "inner",
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        one_of(PRODUCTS, product=product)
        self.product = product
        self._fields = FieldStack()
        self._products: list[tf.keras.layers.Layer] = []
        if product != "outer":
            self._products.append(InnerProducts())
        if product != "inner":
            self._products.append(OuterProduct())
        self._linear = tf.keras.layers.Dense(1)
        self._top = top_network(top_units, dropout_rate)
        self._logit = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        fields = self._fields(inputs, training=training)
        signals = [beside_numbers(fields, inputs.numeric)]
        signals += [product(fields) for product in self._products]
        top = self._top(tf.concat(signals, axis=1), training=training)
        return self._logit(top) + self._linear(inputs.numeric)
