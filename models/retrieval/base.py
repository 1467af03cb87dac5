"""What the two sides of a retrieval model receive, and pooling without a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from models.layer_support import PACKAGE, ConfiguredLayer, one_of
from models.layers.masking import masked_softmax, without_padding


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


POOLINGS = ("attention", "mean")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class HistoryPooling(ConfiguredLayer):
    """interest = sum_j a_j h_j, where h_j = ReLU(W s_j + b) and s_j is a step of the history.

    - "attention": a = softmax_j(q' tanh(V h_j + v)) over the real steps; the query q is learned and
      the same for all users. Source: the user encoder of "Neural News Recommendation with Attentive
      Multi-View Learning" (arXiv 1907.05576).
    - "mean": a_j = 1 / number of real steps.

    The projection comes before the sum, so that a step's rating decides what its item adds; a sum
    of raw steps would mix up what was liked with what was not. An empty history has an interest of
    zeros.

    Shapes: history [m, length, step width] and mask bool [m, length] -> [m, units].

    Attributes:
      units: width of the interest.
      kind: "attention" or "mean".
    """

    def __init__(self, units: int, kind: str = "attention", **kwargs: object):
        """Creates the layer.

        Raises:
          ValueError: the kind is unknown.
        """
        super().__init__(**kwargs)
        one_of(POOLINGS, kind=kind)
        self.units = units
        self.kind = kind
        self._projection = tf.keras.layers.Dense(units, activation="relu")
        if kind == "attention":
            self._key = tf.keras.layers.Dense(units, activation="tanh")
            self._query = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Pools histories.

        Args:
          inputs: history [m, length, step width], mask bool [m, length].

        Returns:
          [m, units].
        """
        history, mask = inputs
        steps = self._projection(without_padding(history, mask))
        if self.kind == "attention":
            weights = masked_softmax(self._query(self._key(steps))[:, :, 0], mask)
        else:
            real = tf.cast(mask, steps.dtype)
            weights = tf.math.divide_no_nan(real, tf.reduce_sum(real, axis=1, keepdims=True))
        return tf.linalg.matvec(steps, weights, transpose_a=True)
