"""Gated recurrent units whose steps are weighted by attention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

from models.layers.masking import without_padding
from models.option_checks import one_of
from models.registration import PACKAGE

GRU_KINDS = ("gru", "aigru", "agru", "augru")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class AttentionGRU(tf.keras.layers.Layer):
    """The recurrences of Deep Interest Evolution Network (arXiv 1809.03672).

    With i_t the input, a_t its attention weight and h_t the state, Eq. (2) to (5):

      u_t = sigmoid(W_u i_t + U_u h_{t-1} + b_u)            update gate
      r_t = sigmoid(W_r i_t + U_r h_{t-1} + b_r)            reset gate
      g_t = tanh(W_h i_t + r_t * (U_h h_{t-1}) + b_h)       proposed state
      h_t = (1 - u_t) * h_{t-1} + u_t * g_t

    - "gru": as written, without attention.
    - "aigru", Eq. (9): the input is a_t i_t.
    - "agru", Eq. (10): a_t stands in place of u_t, and the layer has no update gate.
    - "augru", Eq. (11) and (12): a_t u_t stands in place of u_t.

    Padding leaves the state as it is; the first state is zero. A history of batch 1 that n
    candidates share is projected once.

    Shapes: steps [m, length, width], mask [m, length] and, except for "gru", weights [n, length]
    with m = n or m = 1 -> the last state [n, units], or all states [n, length, units] (n = m for
    "gru").

    Attributes:
      units: width of the state.
      kind: "gru", "aigru", "agru" or "augru".
      return_sequences: whether all states are returned, or the last one.
    """

    def __init__(
        self, units: int, kind: str = "augru", return_sequences: bool = False, **kwargs: object
    ):
        """Creates the layer.

        Raises:
          ValueError: the kind is unknown.
        """
        super().__init__(**kwargs)
        one_of(GRU_KINDS, kind=kind)
        self.units = units
        self.kind = kind
        self.return_sequences = return_sequences

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the gates side by side: reset gate, proposed state, update gate."""
        gates = 2 if self.kind == "agru" else 3
        self._kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[0][-1], gates * self.units),
            initializer="glorot_uniform",
        )
        self._recurrent_kernel = self.add_weight(
            name="recurrent_kernel",
            shape=(self.units, gates * self.units),
            initializer="orthogonal",
        )
        self._bias = self.add_weight(name="bias", shape=(gates * self.units,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Runs over the histories, oldest step first.

        Args:
          inputs: steps [m, length, width], mask bool [m, length] and, except for "gru", attention
            weights [n, length].

        Returns:
          [n, units] or [n, length, units].
        """
        steps, mask, *weights = inputs
        projected = tf.tensordot(without_padding(steps, mask), self._kernel, axes=1)
        if self.kind == "aigru":
            projected *= weights[0][:, :, tf.newaxis]
        elements = [_time_first(projected + self._bias), _time_first(mask[:, :, tf.newaxis])]
        if self.kind in ("agru", "augru"):
            elements.append(_time_first(weights[0][:, :, tf.newaxis]))
        rows = tf.shape(weights[0] if weights else mask)[0]
        start = tf.zeros([rows, self.units], projected.dtype)
        if not self.return_sequences:
            return tf.foldl(self._step, tuple(elements), start)
        length = tf.shape(mask)[1]
        states = tf.scan(self._step, tuple(_at_least_one_step(part) for part in elements), start)
        return tf.transpose(states[:length], [1, 0, 2])

    def _step(self, state: tf.Tensor, step: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """The next state [n, units] from the last one and a step of [n or 1, ...]."""
        projected, real, *weight = step
        recurrent = tf.linalg.matmul(state, self._recurrent_kernel)
        gates = 2 if self.kind == "agru" else 3
        of_input, of_state = tf.split(projected, gates, axis=1), tf.split(recurrent, gates, axis=1)
        reset = tf.sigmoid(of_input[0] + of_state[0])
        proposed = tf.tanh(of_input[1] + reset * of_state[1])
        if self.kind == "agru":
            update = weight[0]
        else:
            update = tf.sigmoid(of_input[2] + of_state[2])
            if self.kind == "augru":
                update *= weight[0]
        return tf.where(real, (1.0 - update) * state + update * proposed, state)

    def fused_fans(self) -> Iterable[tuple[tf.Variable, int, int]]:
        """See `models.initialization.FusedKernels`."""
        return [(self._kernel, self._kernel.shape[0], self.units)]

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "kind": self.kind,
            "return_sequences": self.return_sequences,
        }


def _time_first(steps: tf.Tensor) -> tf.Tensor:
    return tf.transpose(steps, [1, 0, 2])


def _at_least_one_step(steps: tf.Tensor) -> tf.Tensor:
    """Adds a step of padding to an empty sequence, of which a graph could stack no states."""
    missing = tf.maximum(1 - tf.shape(steps)[0], 0)
    return tf.pad(steps, [[0, missing], [0, 0], [0, 0]])
