"""What transformer blocks have in common, whatever attends to what in them."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


class AttendingBlock(tf.keras.layers.Layer):
    """Adds what was attended to, then what a feed-forward network says, normalising both times.

    B = LayerNorm(Q + Dropout(attended))
    block = LayerNorm(B + Dropout(activation(B W_1 + b_1) W_2 + b_2))

    Source: "Attention Is All You Need" (arXiv 1706.03762), section 3.1. Blocks derive from this
    class and bring the attention.

    Attributes:
      num_heads: attention heads.
      feed_forward_units: hidden width of the feed-forward network.
      dropout_rate: dropout of what attention and feed-forward network add, in training only.
    """

    def __init__(
        self,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Keeps the options."""
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.dropout_rate = dropout_rate

    def _build_transformation(
        self, width: int, activation: Callable[[tf.Tensor], tf.Tensor]
    ) -> None:
        """Creates all but the attention, for queries of a width."""
        self._hidden = tf.keras.layers.Dense(self.feed_forward_units, activation=activation)
        self._narrow = tf.keras.layers.Dense(width)
        self._norms = [tf.keras.layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self._dropouts = [tf.keras.layers.Dropout(self.dropout_rate) for _ in range(2)]

    def _transformed(
        self, queries: tf.Tensor, attended: tf.Tensor, training: bool | None
    ) -> tf.Tensor:
        """The block's output [b, q, width] of queries and what each attended to."""
        gathered = self._norms[0](queries + self._dropouts[0](attended, training=training))
        added = self._narrow(self._hidden(gathered))
        return self._norms[1](gathered + self._dropouts[1](added, training=training))

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "feed_forward_units": self.feed_forward_units,
            "dropout_rate": self.dropout_rate,
        }
