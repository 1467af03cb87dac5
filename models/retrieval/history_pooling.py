"""Pooling of the user's history without regard to a candidate."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.masking import masked_softmax, without_padding
from models.option_checks import one_of
from models.registration import PACKAGE

POOLINGS = ("attention", "mean")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class HistoryPooling(tf.keras.layers.Layer):
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

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units, "kind": self.kind}
