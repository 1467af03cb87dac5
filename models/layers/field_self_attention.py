"""Self-attention between fields."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from models.layers.attention_heads import by_head, side_by_side
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FieldSelfAttention(tf.keras.layers.Layer):
    """The interacting layer of AutoInt: every field gathers from the fields that matter to it.

    For each head: a_mk = softmax_k(q_m' k_k / sqrt(head units)), e_m = sum_k a_mk v_k, with q, k
    and v linear in the fields; output ReLU([heads side by side] + W_res field_m).

    Source: "AutoInt" (arXiv 1810.11921), Eq. (5) to (8). The paper does not scale the products;
    scaling keeps the softmax from saturating.

    Shapes: [n, fields, width] -> [n, fields, num_heads * head_units].

    Attributes:
      num_heads: attention heads.
      head_units: width of a head.
      scaled: whether products are divided by sqrt(head_units).
      residual: whether the projected field is added.
      dropout_rate: dropout of the attention weights.
    """

    def __init__(
        self,
        num_heads: int = 1,
        head_units: int = 64,
        scaled: bool = True,
        residual: bool = True,
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.head_units = head_units
        self.scaled = scaled
        self.residual = residual
        self.dropout_rate = dropout_rate
        self._dropout = tf.keras.layers.Dropout(dropout_rate)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the projections side by side: queries, keys, values and the residual's."""
        projections = 4 if self.residual else 3
        width, units = input_shape[-1], self.num_heads * self.head_units
        # Glorot's limit for one projection; of the kernel as a whole it would be too small.
        limit = (6 / (width + units)) ** 0.5
        self._kernel = self.add_weight(
            name="kernel",
            shape=(width, projections * units),
            initializer=tf.keras.initializers.RandomUniform(-limit, limit),
        )
        super().build(input_shape)

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Lets the fields attend to each other."""
        projected = tf.tensordot(fields, self._kernel, axes=1)
        query, key, value, *residual = tf.split(projected, 4 if self.residual else 3, axis=2)
        query, key, value = (by_head(part, self.num_heads) for part in (query, key, value))
        scores = tf.linalg.matmul(query, key, transpose_b=True)
        if self.scaled:
            scores *= self.head_units**-0.5
        weights = self._dropout(tf.nn.softmax(scores), training=training)
        joined = side_by_side(tf.linalg.matmul(weights, value))
        return tf.nn.relu(joined + residual[0] if residual else joined)

    def fused_fans(self) -> Iterable[tuple[tf.Variable, int, int]]:
        """See `models.initialization.FusedKernels`."""
        return [(self._kernel, self._kernel.shape[0], self.num_heads * self.head_units)]

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_units": self.head_units,
            "scaled": self.scaled,
            "residual": self.residual,
            "dropout_rate": self.dropout_rate,
        }
