"""Bilinear interactions of all pairs of fields."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from models.option_checks import one_of
from models.registration import PACKAGE

BILINEAR_KINDS = ("field_all", "field_each", "field_interaction")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class BilinearInteraction(tf.keras.layers.Layer):
    """p_ij = (v_i W) * v_j for all pairs of fields i < j.

    The matrix is shared by all pairs ("field_all"), by the pairs of one left field ("field_each",
    W_i), or by none ("field_interaction", W_ij).

    Source: "FiBiNET" (arXiv 1905.09433), Section 3.4.

    Shapes: [n, fields, width] -> [n, fields * (fields - 1) / 2, width], pairs ordered by i, then j.

    Attributes:
      kind: "field_all", "field_each" or "field_interaction".
    """

    def __init__(self, kind: str = "field_all", **kwargs: object):
        """Creates the layer.

        Raises:
          ValueError: the kind is unknown.
        """
        super().__init__(**kwargs)
        one_of(BILINEAR_KINDS, kind=kind)
        self.kind = kind

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the matrices: for each left field those of its pairs side by side."""
        _, fields, width = input_shape
        if self.kind == "field_all":
            matrices = [1]
        elif self.kind == "field_each":
            matrices = [1] * (fields - 1)
        else:
            matrices = list(range(fields - 1, 0, -1))
        # Glorot's limit for one matrix; of all side by side it would be too small.
        limit = (3 / width) ** 0.5
        self._kernels = [
            self.add_weight(
                name=f"pairs_{index}_kernel",
                shape=(width, count * width),
                initializer=tf.keras.initializers.RandomUniform(-limit, limit),
            )
            for index, count in enumerate(matrices)
        ]
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Computes the products of all pairs."""
        _, count, width = fields.shape
        pairs = []
        for left in range(count - 1):
            kernel = self._kernels[0 if self.kind == "field_all" else left]
            projected = tf.linalg.matmul(fields[:, left], kernel)
            matrices = kernel.shape[1] // width
            pairs.append(tf.reshape(projected, [-1, matrices, width]) * fields[:, left + 1 :])
        return tf.concat(pairs, axis=1)

    def fused_fans(self) -> Iterable[tuple[tf.Variable, int, int]]:
        """See `models.initialization.FusedKernels`."""
        return [(kernel, kernel.shape[0], kernel.shape[0]) for kernel in self._kernels]

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "kind": self.kind}
