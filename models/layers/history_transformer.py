"""A transformer over the user's history and the candidate."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.masking import without_padding
from models.layers.transformer_block import TransformerBlock
from models.option_checks import dividing_heads, one_of, positive_count
from models.registration import PACKAGE

OUTPUTS = ("candidate", "all")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class HistoryTransformer(tf.keras.layers.Layer):
    """Transformer blocks over the history and, after it, the candidate.

    token_j = W_s step_j + position_{d(j)},   token of the candidate = W_c candidate + b_c
    F = block_B(... block_1([tokens of the history, token of the candidate]))

    d(j) is the number of interactions after step j: 0 is the newest. Positions are learned and are
    counted over real steps only, so that padding anywhere moves none. The published model (BST,
    arXiv 1905.06874, section 2.1) embeds the time since step j, joins it to the item's vector and
    projects both; a projection of joined vectors is the sum of two projections, which is what is
    computed here, with the rank of a step in place of its time.

    What is handed on: `outputs="candidate"`, the candidate's own output, which has attended to all
    steps; the last block then answers for the candidate only, and the cost grows with the length in
    place of its square. `outputs="all"`, the published form: the outputs of all positions side by
    side, steps at their distance (zeros where the history is shorter; older steps than
    `num_positions` are attended to but not laid out), and the candidate last.

    Shapes: candidate [n, candidate width], history [n or 1, length, step width], mask
    [n or 1, length] -> [n, units], or with "all" [n, (num_positions + 1) * units].

    Attributes:
      units: width of a token.
      num_blocks: blocks on top of each other; the paper found 1 best.
      num_heads: attention heads of a block; must divide `units`.
      feed_forward_units: hidden width of a block's feed-forward network.
      num_positions: distances with a position of their own; older steps share the last.
      outputs: "candidate" or "all".
      dropout_rate: dropout of the tokens and inside the blocks, in training only.
    """

    def __init__(
        self,
        units: int = 64,
        num_blocks: int = 1,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        num_positions: int = 30,
        outputs: str = "candidate",
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Creates the blocks.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(**kwargs)
        one_of(OUTPUTS, outputs=outputs)
        positive_count(
            units=units,
            num_blocks=num_blocks,
            feed_forward_units=feed_forward_units,
            num_positions=num_positions,
        )
        dividing_heads(num_heads, units=units)
        self.units = units
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.num_positions = num_positions
        self.outputs = outputs
        self.dropout_rate = dropout_rate
        self._steps = tf.keras.layers.Dense(units, use_bias=False)
        self._candidate = tf.keras.layers.Dense(units)
        self._dropout = tf.keras.layers.Dropout(dropout_rate)
        self._blocks = [
            TransformerBlock(
                num_heads,
                feed_forward_units,
                dropout_rate,
                candidate_only=outputs == "candidate" and index == num_blocks - 1,
            )
            for index in range(num_blocks)
        ]

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the positions."""
        self._positions = self.add_weight(
            name="position_embedding",
            shape=(self.num_positions, self.units),
            initializer=tf.keras.initializers.RandomNormal(stddev=0.05),
        )
        super().build(input_shape)

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor], training: bool | None = None
    ) -> tf.Tensor:
        """Reads histories for their candidates.

        Args:
          inputs: candidate [n, candidate width], history [n or 1, length, step width], newest last,
            mask bool [n or 1, length].
          training: whether dropout is active.

        Returns:
          [n, units], or [n, (num_positions + 1) * units] with "all".
        """
        candidate, steps, mask = inputs
        steps = without_padding(steps, mask)
        distance = steps_after(mask)
        positions = tf.gather(self._positions, tf.minimum(distance, self.num_positions - 1))
        history = self._dropout(self._steps(steps) + positions, training=training)
        candidate = self._dropout(self._candidate(candidate), training=training)
        for block in self._blocks:
            outputs = block((candidate, history, mask), training=training)
            history, candidate = outputs[:, :-1], outputs[:, -1]
        if self.outputs == "candidate":
            return candidate
        by_distance = tf.one_hot(distance, self.num_positions, dtype=history.dtype)
        by_distance *= tf.cast(mask, history.dtype)[:, :, tf.newaxis]
        laid_out = tf.matmul(by_distance, history, transpose_a=True)
        laid_out = tf.reshape(laid_out, [-1, self.num_positions * self.units])
        return tf.concat([laid_out, candidate], axis=1)

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "num_blocks": self.num_blocks,
            "num_heads": self.num_heads,
            "feed_forward_units": self.feed_forward_units,
            "num_positions": self.num_positions,
            "outputs": self.outputs,
            "dropout_rate": self.dropout_rate,
        }


def steps_after(mask: tf.Tensor) -> tf.Tensor:
    """Number of real steps after each step: bool [m, length] -> int32 [m, length]."""
    return tf.cumsum(tf.cast(mask, tf.int32), axis=1, reverse=True, exclusive=True)
