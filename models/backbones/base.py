"""What every backbone receives."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

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


def flat(fields: tf.Tensor) -> tf.Tensor:
    """Lays the fields of a row side by side: [n, fields, width] -> [n, fields * width]."""
    return tf.reshape(fields, [tf.shape(fields)[0], fields.shape[1] * fields.shape[2]])
