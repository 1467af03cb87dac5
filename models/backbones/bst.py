"""Behavior Sequence Transformer."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, flat
from models.layer_support import PACKAGE
from models.layers.sequence import HistoryTransformer
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class BehaviorSequenceTransformer(Backbone):
    """BST: a transformer reads history and candidate, then a dense network scores.

    logit = w' MLP([transformer(history, candidate), candidate, numeric, side]) + b

    Source: "Behavior Sequence Transformer for E-commerce Recommendation in Alibaba"
    (arXiv 1905.06874); formulas of the transformer in `models.layers`. Unlike in DIN the steps also
    attend to each other (with more than one block, or `outputs="all"`) and their order counts.
    Augmented vectors enter the dense network, as in DIN. The paper's dense network uses LeakyReLU;
    this one ReLU, as every backbone here.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the dense network.
      dropout_rate: dropout after each of its layers and inside the transformer.
      units: width of a token.
      num_blocks: transformer blocks; the paper found 1 best.
      num_heads: attention heads; must divide `units`.
      feed_forward_units: hidden width of a block's feed-forward network.
      num_positions: distances from the newest step with a position of their own.
      outputs: "candidate" hands on the candidate's output, "all" those of all positions (published;
        slower by the length of the history).
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        units: int = 64,
        num_blocks: int = 1,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        num_positions: int = 30,
        outputs: str = "candidate",
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        self.units = units
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.num_positions = num_positions
        self.outputs = outputs
        self._transformer = HistoryTransformer(
            units, num_blocks, num_heads, feed_forward_units, num_positions, outputs, dropout_rate
        )
        self._top = top_network(top_units, dropout_rate)
        self._logit = tf.keras.layers.Dense(1)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        candidate = flat(inputs.candidate)
        read = self._transformer(
            (candidate, inputs.history, inputs.history_mask), training=training
        )
        joined = tf.concat([read, candidate, inputs.numeric, flat(inputs.side_fields)], axis=1)
        return self._logit(self._top(joined, training=training))
