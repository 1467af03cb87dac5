"""MaskNet."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, FieldStack, beside_numbers
from models.layer_support import PACKAGE, one_of, positive, positive_count
from models.layers.gates import MaskBlock
from models.layers.normalization import FieldNormalization
from models.layers.top_network import top_network

ARRANGEMENTS = ("parallel", "serial")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MaskNet(Backbone):
    """MaskNet: blocks that multiply their input by a mask made from the whole sample.

    instance = [interest, candidate, side, numeric]
    x = [LN(interest), LN(candidate_1), ..., LN(side_s), numeric]

    - "parallel": logit = w' MLP([block_1(instance, x), ..., block_k(instance, x)]) + u' numeric + b
    - "serial":   logit = w' block_L(instance, .. block_1(instance, x) ..) + u' numeric + b, one
      block for each of `top_units`

    Source: "MaskNet" (arXiv 2102.07619), Eq. (5), (9), (11) to (16). As in common implementations
    the normalisation of the fields is computed once for all parallel blocks. Numbers enter beside
    the fields: as the paper has them (a field x_j v_j each, Eq. (3)) the normalisation of a field
    would leave nothing of x_j but its sign. The linear term of the numbers is ours.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the dense network ("parallel") or of the blocks ("serial").
      dropout_rate: dropout after each of its layers or blocks.
      arrangement: "parallel" or "serial".
      num_blocks: parallel blocks; more are slowly better and cost as much each.
      block_units: width of a parallel block's output.
      reduction_ratio: width of a mask's inner layer in parts of the masked width.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        arrangement: str = "parallel",
        num_blocks: int = 3,
        block_units: int = 64,
        reduction_ratio: float = 1.0,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        one_of(ARRANGEMENTS, arrangement=arrangement)
        positive_count(num_blocks=num_blocks, block_units=block_units)
        positive(reduction_ratio=reduction_ratio)
        self.arrangement = arrangement
        self.num_blocks = num_blocks
        self.block_units = block_units
        self.reduction_ratio = reduction_ratio
        self._fields = FieldStack()
        self._normalise = FieldNormalization()
        widths = self.top_units if arrangement == "serial" else (block_units,) * num_blocks
        self._blocks = [MaskBlock(width, reduction_ratio) for width in widths]
        self._dropout = tf.keras.layers.Dropout(dropout_rate)
        if arrangement == "parallel":
            self._top = top_network(top_units, dropout_rate)
        self._linear = tf.keras.layers.Dense(1)
        self._logit = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        fields = self._fields(inputs, training=training)
        instance = beside_numbers(fields, inputs.numeric)
        hidden = beside_numbers(self._normalise(fields), inputs.numeric)
        if self.arrangement == "parallel":
            merged = tf.concat([block((instance, hidden)) for block in self._blocks], axis=1)
            hidden = self._top(self._dropout(merged, training=training), training=training)
        else:
            for block in self._blocks:
                hidden = self._dropout(block((instance, hidden)), training=training)
        return self._logit(hidden) + self._linear(inputs.numeric)
