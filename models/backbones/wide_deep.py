"""Wide & Deep."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, FieldStack, beside_numbers
from models.layer_support import PACKAGE
from models.layers.interaction import InnerProducts
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class WideDeep(Backbone):
    """Wide & Deep: a linear model that memorises beside a dense network that generalises.

    logit = w' [x, phi(x)] + b + u' MLP(x),   x = [fields, numeric]

    with fields = [interest, candidate, side]. Source: "Wide & Deep Learning for Recommender
    Systems" (arXiv 1606.07792), Eq. (1) and (3).

    phi(x) are the cross products, chosen so that each means something and nobody has to list them:

    - x_a x_b for all pairs of numbers: Eq. (1) as it stands, for example the user's share of liked
      items times the item's mean rating.
    - v_i' v_j for all pairs of fields. The paper crosses indicators, "user has i AND candidate is
      j", one weight each; over learned vectors the weight of such a cross is the vectors' inner
      product (the argument of factorization machines), and here every pair of fields has a weight
      of its own on top.

    Both parts are trained by the same optimizer (the paper: FTRL with L1 for the wide part, AdaGrad
    for the deep part), since here no part is sparse.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the dense network.
      dropout_rate: dropout after each of its layers.
      cross_products: whether the wide part has phi(x), or x alone.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        cross_products: bool = True,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        self.cross_products = cross_products
        self._fields = FieldStack()
        self._products = InnerProducts()
        self._wide = tf.keras.layers.Dense(1)
        self._deep = top_network(top_units, dropout_rate, name="deep")
        self._logit = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        fields = self._fields(inputs, training=training)
        joined = wide = beside_numbers(fields, inputs.numeric)
        if self.cross_products:
            number_products = self._products(inputs.numeric[:, :, tf.newaxis])
            wide = tf.concat([joined, self._products(fields), number_products], axis=1)
        return self._wide(wide) + self._logit(self._deep(joined, training=training))
