"""The features of every candidate of a list, before it meets the other candidates."""

from __future__ import annotations

import tensorflow as tf

from models.layers.attention import TargetAttention
from models.registration import PACKAGE
from models.rerankers.base import ListInputs, flat_in_lists


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
