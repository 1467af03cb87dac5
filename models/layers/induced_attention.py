"""Self-attention of a set by way of a few trained points."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.masking import without_padding
from models.layers.set_attention_block import SetAttentionBlock
from models.option_checks import positive_count
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class InducedSetAttention(tf.keras.layers.Layer):
    """The set is read by trained inducing points I, and its members read what these have gathered.

    H = block(I, X),   IMSAB(X) = block(X, H)

    Source: the induced multi-head self-attention block of "SetRank" (arXiv 1912.05891), section
    3.3. With m points the cost grows with m * size in place of size squared, and the size of the
    set, which may differ between training and use, matters less.

    Shapes: set [b, L, width], mask [b, L] -> [b, L, width].

    Attributes:
      num_points: inducing points; the paper takes 20.
      num_heads: attention heads of both blocks; must divide the width.
      feed_forward_units: hidden width of their feed-forward networks.
      dropout_rate: dropout inside the blocks, in training only.
    """

    def __init__(
        self,
        num_points: int = 20,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Creates the blocks.

        Raises:
          ValueError: there is no inducing point.
        """
        super().__init__(**kwargs)
        positive_count(num_points=num_points)
        self.num_points = num_points
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.dropout_rate = dropout_rate
        self._gather, self._spread = (
            SetAttentionBlock(num_heads, feed_forward_units, dropout_rate, name=name)
            for name in ("gather", "spread")
        )

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the inducing points."""
        self._points = self.add_weight(
            # Queries of an attention; no embedding, so no name by which one is initialised.
            name="points",
            shape=(self.num_points, input_shape[0][-1]),
            initializer="glorot_uniform",
        )
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Lets the members of the set know of each other.

        Args:
          inputs: set [b, L, width], mask bool [b, L], false on padding.
          training: whether dropout is active.

        Returns:
          [b, L, width].
        """
        members, mask = inputs
        members = without_padding(members, mask)
        batch = tf.shape(members)[0]
        points = tf.convert_to_tensor(self._points)
        points = tf.broadcast_to(points, [batch, *self._points.shape])
        gathered = self._gather((points, members, mask), training=training)
        all_real = tf.ones([batch, self.num_points], tf.bool)
        return self._spread((members, gathered, all_real), training=training)

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_points": self.num_points,
            "num_heads": self.num_heads,
            "feed_forward_units": self.feed_forward_units,
            "dropout_rate": self.dropout_rate,
        }
