"""Fusion of two streams into one logit."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.option_checks import dividing_heads
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class BilinearFusion(tf.keras.layers.Layer):
    """logit = b + w_1' o_1 + w_2' o_2 + sum_h o_1h' W_h o_2h, o_1h and o_2h the h-th parts.

    Source: stream-level fusion of "FinalMLP" (arXiv 2304.00902), multi-head bilinear fusion. With k
    heads the bilinear term has 1/k of the weights; the biases of the heads are one.

    Shapes: o_1 [n, first width] and o_2 [n, second width] -> [n, 1].

    Attributes:
      num_heads: parts that both streams are cut into; must divide both widths.
    """

    def __init__(self, num_heads: int = 1, **kwargs: object):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the weights.

        Raises:
          ValueError: the heads do not divide the widths.
        """
        first_width, second_width = (shape[-1] for shape in input_shape)
        dividing_heads(self.num_heads, first_width=first_width, second_width=second_width)
        first, second = first_width // self.num_heads, second_width // self.num_heads
        self._linear = tf.keras.layers.Dense(1)
        # Glorot's deviation of one output that sums over all products.
        deviation = (2.0 / (self.num_heads * first * second + 1)) ** 0.5
        self._kernel = self.add_weight(
            name="kernel",
            shape=(self.num_heads, first, second),
            initializer=tf.keras.initializers.RandomNormal(stddev=deviation),
        )
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Fuses two streams.

        Args:
          inputs: [n, first width], [n, second width].

        Returns:
          [n, 1].
        """
        first, second = inputs
        heads, first_part, second_part = self._kernel.shape
        projected = tf.einsum(
            "nhf,hfs->nhs", tf.reshape(first, [-1, heads, first_part]), self._kernel
        )
        products = projected * tf.reshape(second, [-1, heads, second_part])
        return (
            self._linear(tf.concat(inputs, axis=1))
            + tf.reduce_sum(products, axis=[1, 2])[:, tf.newaxis]
        )

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_heads": self.num_heads}
