"""Deep Interest Evolution Network."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, flat
from models.layer_support import PACKAGE, not_negative, one_of
from models.layers.masking import masked_softmax
from models.layers.sequence import GRU_KINDS, AttentionGRU, next_step_loss
from models.layers.top_network import RandomNumbers, top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DeepInterestEvolutionNetwork(Backbone):
    """DIEN: the order of the history counts, and interests evolve towards the candidate.

    h_1 .. h_T = GRU(history)                                 interest extractor, Eq. (2) to (5)
    a_t = softmax_t(h_t' W candidate)                         Eq. (8)
    interest = last state of AUGRU(h, a)                      interest evolution, Eq. (9) to (12)
    logit = w' MLP([interest, candidate, numeric, side]) + b

    With evolution "gru" a second GRU follows without attention, whose states are pooled by a_t (the
    paper's two-layer GRU baseline). The auxiliary loss, Eq. (6) and (7), makes each h_t predict the
    next item of the history; it is off unless it has a weight.

    Source: "Deep Interest Evolution Network for Click-Through Rate Prediction" (arXiv 1809.03672).
    States are as wide as an item, as the auxiliary loss needs.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the top network.
      dropout_rate: dropout after each of its layers.
      evolution: "augru", "agru", "aigru" or "gru".
      auxiliary_weight: weight of the auxiliary loss in training; 0 leaves it out.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        evolution: str = "augru",
        auxiliary_weight: float = 0.0,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        one_of(GRU_KINDS, evolution=evolution)
        not_negative(auxiliary_weight=auxiliary_weight)
        self.evolution = evolution
        self.auxiliary_weight = auxiliary_weight
        self._top = top_network(top_units, dropout_rate)
        self._logit = tf.keras.layers.Dense(1)
        self._random_numbers = RandomNumbers()

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the recurrent layers, as wide as an item."""
        _, fields, width = BackboneInputs(*input_shape).candidate
        units = fields * width
        self._extractor = AttentionGRU(units, "gru", return_sequences=True, name="extractor")
        self._evolution = AttentionGRU(
            units, self.evolution, return_sequences=self.evolution == "gru", name="evolution"
        )
        self._query = tf.keras.layers.Dense(units, use_bias=False, name="query")
        super().build(input_shape)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        candidate = flat(inputs.candidate)
        states = self._extractor((inputs.history, inputs.history_mask))
        if training and self.auxiliary_weight > 0:
            self.add_loss(self.auxiliary_weight * self._auxiliary_loss(inputs, states))
        interest = self._evolved(candidate, states, inputs.history_mask)
        joined = tf.concat([interest, candidate, inputs.numeric, flat(inputs.side_fields)], axis=1)
        return self._logit(self._top(joined, training=training))

    def _evolved(self, candidate: tf.Tensor, states: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """The interest [n, units] that evolved out of states [m, length, units]."""
        query = self._query(candidate)
        if self.evolution == "gru":
            states = self._evolution((states, mask))
            weights = masked_softmax(tf.linalg.matvec(states, query), mask)
            return tf.linalg.matvec(states, weights, transpose_a=True)
        weights = masked_softmax(tf.linalg.matvec(states, query), mask)
        return self._evolution((states, mask, weights))

    def _auxiliary_loss(self, inputs: BackboneInputs, states: tf.Tensor) -> tf.Tensor:
        items = inputs.history[:, :, : states.shape[2]]
        shape = tf.shape(inputs.history_mask)
        shuffled = tf.argsort(self._random_numbers.uniform([shape[0] * shape[1]]))
        negatives = tf.reshape(shuffled, shape)
        return next_step_loss(states, items, inputs.history_mask, negatives)
