"""What the two sides of a retrieval model receive; neither holds anything of the other."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class UserInputs(NamedTuple):
    """Fields of m users.

    Attributes:
      history: [m, length, step width], every step's item fields and rating features in one vector,
        newest last.
      history_mask: bool [m, length], false on padding.
      numeric: [m, numbers], user statistics and profile numbers.
      side_fields: [m, side fields, width], augmented vectors of user sources, then profile fields;
        there may be none.
    """

    history: tf.Tensor
    history_mask: tf.Tensor
    numeric: tf.Tensor
    side_fields: tf.Tensor


class ItemInputs(NamedTuple):
    """Fields of n items.

    Attributes:
      fields: [n, item fields, width], id embedding first.
      numeric: [n, numbers], item statistics, numeric attributes and priors.
      side_fields: [n, side fields, width], augmented vectors of item sources; there may be none.
    """

    fields: tf.Tensor
    numeric: tf.Tensor
    side_fields: tf.Tensor
