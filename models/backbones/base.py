"""What every backbone takes and receives, also as one stack of fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from models.layer_support import PACKAGE, ConfiguredLayer, positive_widths, share_below_one
from models.layers.attention import TargetAttention

NUM_RATING_FEATURES = 2
"""Numbers of the rating at the end of every step of a history; all before them are item fields."""


class BackboneInputs(NamedTuple):
    """The fields of one batch of n candidates; m is n, or 1 when all candidates share one user.

    Attributes:
      candidate: [n, item fields, width], id embedding first.
      history: [m, length, step width], every step's item fields and rating features in one vector,
        newest last.
      history_mask: bool [m, length], false on padding.
      numeric: [n, numbers], user statistics, item statistics, numeric attributes and standardised
        match features.
      side_fields: [n, side fields, width], what is known beside the candidate's own fields:
        augmented vectors, then the user's profile; there may be none. Formulas call them side.
    """

    candidate: tf.Tensor
    history: tf.Tensor
    history_mask: tf.Tensor
    numeric: tf.Tensor
    side_fields: tf.Tensor


class Backbone(ConfiguredLayer):
    """Base of what `model.backbone` names: of backbones, re-rankers and pairs of towers.

    A subclass has both options here and may have more, each with an annotation and a default; the
    configuration names them (`model.backbone_options`). It keeps each as an attribute.

    Attributes:
      top_units: widths of the dense network.
      dropout_rate: dropout after each of its layers.
    """

    def __init__(
        self, top_units: Sequence[int] = (200, 80), dropout_rate: float = 0.0, **kwargs: object
    ):
        """Keeps the options that every backbone has.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(**kwargs)
        positive_widths(top_units=top_units)
        share_below_one(dropout_rate=dropout_rate)
        self.top_units = tuple(top_units)
        self.dropout_rate = dropout_rate


def flat(fields: tf.Tensor) -> tf.Tensor:
    """Lays the fields of a row side by side: [n, fields, width] -> [n, fields * width]."""
    return tf.reshape(fields, [tf.shape(fields)[0], fields.shape[1] * fields.shape[2]])


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FieldStack(ConfiguredLayer):
    """Stacks interest, candidate fields, side fields and optionally the numbers.

    stack = [attention(W candidate + b, history), candidate fields, side, sum_m x_m v_m]

    The history is pooled with regard to the candidate, as in DIN, so that every backbone is as
    strong a baseline; its steps and the candidate are projected to the width of one field. The last
    field is there with `numbers_as_field`: AutoInt (arXiv 1810.11921, Eq. (4)) gives the number x_m
    the field x_m v_m; one field holds their sum, so that many numbers stay cheap.

    Shapes: `BackboneInputs` -> [n, 1 + item fields + side fields (+ 1), width].

    Attributes:
      numbers_as_field: whether the numbers make one more field, for backbones without a deep part.
    """

    def __init__(self, numbers_as_field: bool = False, **kwargs: object):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.numbers_as_field = numbers_as_field

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the projections to the width of a field."""
        width = BackboneInputs(*input_shape).candidate[-1]
        self._attention = TargetAttention()
        self._query = tf.keras.layers.Dense(width)
        if self.numbers_as_field:
            self._numbers = tf.keras.layers.Dense(width, use_bias=False)
        super().build(input_shape)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Stacks the fields of a batch."""
        query = self._query(flat(inputs.candidate))
        interest = self._attention((query, inputs.history, inputs.history_mask), training=training)
        fields = [interest[:, tf.newaxis], inputs.candidate, inputs.side_fields]
        if self.numbers_as_field:
            fields.append(self._numbers(inputs.numeric)[:, tf.newaxis])
        return tf.concat(fields, axis=1)


def beside_numbers(fields: tf.Tensor, numeric: tf.Tensor) -> tf.Tensor:
    """The input of a deep part or linear term: [n, fields, width], [n, numbers] -> [n, all]."""
    return tf.concat([flat(fields), numeric], axis=1)
