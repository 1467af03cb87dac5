"""Feature-wise multiplication by a mask that the instance itself makes."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.option_checks import positive
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MaskBlock(tf.keras.layers.Layer):
    """mask = W_2 ReLU(W_1 instance + b_1) + b_2,   output = ReLU(LayerNorm(W (mask * hidden))).

    Source: "MaskNet: Introducing Feature-Wise Multiplication to CTR Ranking Models by
    Instance-Guided Mask" (arXiv 2102.07619), Eq. (5), (12) and (14). The instance is always the
    embedding of the whole sample; hidden is that embedding, normalised field by field
    (`FieldNormalization`), or the output of another block.

    Shapes: instance [n, instance width] and hidden [n, hidden width] -> [n, units].

    Attributes:
      units: width of the output.
      reduction_ratio: width of the mask's inner layer in parts of the hidden width; from 1 to 5 the
        paper sees little difference, so take a small one.
    """

    def __init__(self, units: int, reduction_ratio: float = 1.0, **kwargs: object):
        """Creates the block.

        Raises:
          ValueError: the ratio is not positive.
        """
        super().__init__(**kwargs)
        positive(reduction_ratio=reduction_ratio)
        self.units = units
        self.reduction_ratio = reduction_ratio

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates mask and hidden layer."""
        width = input_shape[1][-1]
        self._aggregation = tf.keras.layers.Dense(
            max(1, round(self.reduction_ratio * width)), activation="relu"
        )
        self._projection = tf.keras.layers.Dense(width)
        self._hidden = tf.keras.layers.Dense(self.units, use_bias=False)
        self._normalise = tf.keras.layers.LayerNormalization(epsilon=1e-5)
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Masks the hidden vector and transforms it.

        Args:
          inputs: instance [n, instance width], hidden [n, hidden width].

        Returns:
          [n, units].
        """
        instance, hidden = inputs
        mask = self._projection(self._aggregation(instance))
        return tf.nn.relu(self._normalise(self._hidden(mask * hidden)))

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "reduction_ratio": self.reduction_ratio,
        }
