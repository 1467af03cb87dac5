"""Pooling of the user's history with regard to the candidate."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.dice import Dice
from models.layers.masking import masked_softmax, without_padding
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class TargetAttention(tf.keras.layers.Layer):
    """The local activation unit of Deep Interest Network (arXiv 1706.06978, Eq. (2) and Figure 2).

    interest = sum_j g(q, k_j) k_j, where q is the candidate, k_j the history step projected to its
    width, and g a small network over [q, k_j, q - k_j, q * k_j] with Dice. Scores of padding are
    zero; they are not normalised, so that the strength of an interest is kept, unless `softmax` is
    asked for.

    Candidates may also come in lists, one list per history; the history is then projected once for
    all of its candidates, and the mask says which pairs of candidate and step are real.

    Shapes: candidate [n, width], history [n or 1, length, history width] and mask
    [n or 1, length] -> [n, width]; in lists candidate [b, L, width], history
    [b, length, history width] and mask [b, L, length] -> [b, L, width].

    Attributes:
      hidden_units: widths of the scoring network.
      softmax: whether the scores of a history are normalised to sum 1.
      dice_statistics: "moving" or "batch" (`models.layers.dice.Dice`).
    """

    def __init__(
        self,
        hidden_units: Sequence[int] = (32, 16),
        softmax: bool = False,
        dice_statistics: str = "moving",
        **kwargs: object,
    ):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)
        self.softmax = softmax
        self.dice_statistics = dice_statistics
        self._activations = [Dice(statistics=dice_statistics) for _ in self.hidden_units]

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates projection and scoring network."""
        candidate_shape, _, _ = input_shape
        width, first_units = candidate_shape[-1], self.hidden_units[0]
        self._projection = tf.keras.layers.Dense(width)
        self._first_kernel = self.add_weight(
            name="first_kernel", shape=(4 * width, first_units), initializer="glorot_uniform"
        )
        self._first_bias = self.add_weight(
            name="first_bias", shape=(first_units,), initializer="zeros"
        )
        self._hidden = [tf.keras.layers.Dense(units) for units in self.hidden_units[1:]]
        # A bias would shift all scores alike, which a softmax does not see.
        self._score = tf.keras.layers.Dense(1, use_bias=not self.softmax)
        super().build(input_shape)

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor], training: bool | None = None
    ) -> tf.Tensor:
        """Pools histories for their candidates.

        Args:
          inputs: candidate [n, width], history [n or 1, length, history width], mask bool
            [n or 1, length]; or lists of them.
          training: passed on to Dice.

        Returns:
          [n, width], or [b, L, width].
        """
        candidate, history, mask = inputs
        # Of lists, a step is real where it is one to any candidate.
        steps_mask = mask if mask.shape.rank == 2 else tf.reduce_any(mask, axis=1)
        keys = self._projection(without_padding(history, steps_mask))
        if candidate.shape.rank == 2:
            scores = self._scores(self._first_layer(candidate, keys), mask, training)
            return tf.linalg.matvec(keys, scores, transpose_a=True)
        hidden = self._first_layer(candidate, keys[:, tf.newaxis])
        lists, size, length = tf.unstack(tf.shape(hidden)[:3])
        hidden = tf.reshape(hidden, [lists * size, length, hidden.shape[-1]])
        scores = self._scores(hidden, tf.reshape(mask, [lists * size, length]), training)
        return tf.linalg.matmul(tf.reshape(scores, [lists, size, length]), keys)

    def _scores(self, hidden: tf.Tensor, mask: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Scores [n, length] of the first layer's [n, length, units]; 0 on padding."""
        hidden = self._activations[0](hidden, training=training, mask=mask)
        for dense, activation in zip(self._hidden, self._activations[1:], strict=True):
            hidden = activation(dense(hidden), training=training, mask=mask)
        scores = self._score(hidden)[:, :, 0]
        if self.softmax:
            return masked_softmax(scores, mask)
        return scores * tf.cast(mask, scores.dtype)

    def _first_layer(self, candidate: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """[q, k, q - k, q * k] W + b without building the joined tensor: [..., length, units].

        With W's four blocks, q (W_q + W_d) is computed once per candidate, k (W_k - W_d) once per
        step of a shared history, and only (q * k) W_p for every pair.
        """
        query, key, difference, product = tf.split(self._first_kernel, 4, axis=0)
        of_query = tf.tensordot(candidate, query + difference, axes=1) + self._first_bias
        of_keys = tf.tensordot(keys, key - difference, axes=1)
        of_pairs = tf.tensordot(candidate[..., tf.newaxis, :] * keys, product, axes=1)
        return of_query[..., tf.newaxis, :] + of_keys + of_pairs

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_units": list(self.hidden_units),
            "softmax": self.softmax,
            "dice_statistics": self.dice_statistics,
        }
