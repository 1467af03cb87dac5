"""What every re-ranker receives."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from models.layer_support import PACKAGE
from models.layers.attention import TargetAttention
from models.layers.masking import without_padding


class ListInputs(NamedTuple):
    """A batch of b lists of candidates, each with its user; L is the length of the longest list.

    Attributes:
      candidate: [b, L, item fields, width], id embedding first.
      candidate_mask: bool [b, L], false on padding, which may hold anything.
      history: [b, T, step width], every step's item fields and rating features in one vector,
        newest last.
      history_mask: bool [b, T], false on padding.
      numeric: [b, L, numbers], statistics of user and item, numeric attributes and standardised
        match features.
      side_fields: [b, L, side fields, width], what is known beside the candidate's own fields:
        augmented vectors, then the user's profile, the user's repeated along the list; there may be
        none. Formulas call them side.
    """

    candidate: tf.Tensor
    candidate_mask: tf.Tensor
    history: tf.Tensor
    history_mask: tf.Tensor
    numeric: tf.Tensor
    side_fields: tf.Tensor

    def without_padding(self) -> ListInputs:
        """The same with zeros on padding, of candidates and of steps."""
        return self._replace(
            candidate=without_padding(self.candidate, self.candidate_mask),
            history=without_padding(self.history, self.history_mask),
            numeric=without_padding(self.numeric, self.candidate_mask),
            side_fields=without_padding(self.side_fields, self.candidate_mask),
        )


def flat_in_lists(fields: tf.Tensor) -> tf.Tensor:
    """Lays fields side by side: [b, L, fields, width] -> [b, L, fields * width]."""
    lists, size = tf.unstack(tf.shape(fields)[:2])
    return tf.reshape(fields, [lists, size, fields.shape[2] * fields.shape[3]])


@tf.keras.utils.register_keras_serializable(PACKAGE)
class CandidateFeatures(tf.keras.layers.Layer):
    """x_i = [attention(candidate_i, history), candidate_i, numeric_i, side_i], as in DIN.

    The published re-rankers take the features of an initial ranker for granted. These are the ones
    that the ranking models here see, so that a re-ranker knows of each candidate what they do.

    Shapes: `ListInputs` -> [b, L, features].
    """

    def __init__(self, **kwargs: object):
        """Creates the attention."""
        super().__init__(**kwargs)
        self._attention = TargetAttention()

    def call(self, inputs: ListInputs, training: bool | None = None) -> tf.Tensor:
        """Joins the features of all candidates."""
        candidate = flat_in_lists(inputs.candidate)
        # Pairs with a padding candidate must not enter the batch statistics of the attention.
        pairs = inputs.candidate_mask[:, :, tf.newaxis] & inputs.history_mask[:, tf.newaxis]
        interest = self._attention((candidate, inputs.history, pairs), training=training)
        return tf.concat(
            [interest, candidate, inputs.numeric, flat_in_lists(inputs.side_fields)], axis=-1
        )
