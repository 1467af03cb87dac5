"""Deep Listwise Context Model."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone
from models.layer_support import PACKAGE, positive_count
from models.layers.sequence import AttentionGRU
from models.layers.top_network import top_network
from models.rerankers.base import CandidateFeatures, ListInputs


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DeepListwiseContextModel(Backbone):
    """DLCM: a recurrent network reads the list; its last state is the context of every score.

    z_i = MLP(x_i),   o_n, .., o_1 = GRU([x_n, z_n], .., [x_1, z_1]),   s = o_1
    logit_i = v' (o_i' tanh(W s + b))

    where x_i are the candidate's features (`CandidateFeatures`), the list is read from its last
    candidate to its first, and W s + b, of [units, context units], is a matrix for o_i.

    Source: "Learning a Deep Listwise Context Model for Ranking Refinement" (arXiv 1804.05936):
    sections 3.1 (input, with ELU in place of ReLU), 3.2 (GRU) and 3.3 (the local ranking function
    phi(o_i, s)). The paper's lists come in the order of an initial ranker; `examples/rerank` are
    shuffled, so there the context is that of a set, read in some order.

    Shapes: `ListInputs` -> logits [b, L].

    Attributes:
      top_units: widths of the MLP.
      dropout_rate: dropout after each of its layers.
      units: width of the recurrent state.
      context_units: columns of the matrix made of the context.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        units: int = 64,
        context_units: int = 8,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        positive_count(units=units, context_units=context_units)
        self.units = units
        self.context_units = context_units
        self._features = CandidateFeatures()
        self._top = top_network(top_units, dropout_rate)
        self._recurrence = AttentionGRU(units, "gru", return_sequences=True)
        self._context = tf.keras.layers.Dense(units * context_units, activation="tanh")
        self._local_logit = tf.keras.layers.Dense(1, use_bias=False)

    def call(self, inputs: ListInputs, training: bool | None = None) -> tf.Tensor:
        """Scores lists."""
        inputs = inputs.without_padding()
        features = self._features(inputs, training=training)
        abstract = self._top(features, training=training)
        steps = tf.concat([features, abstract], axis=-1)
        last_first = tf.reverse(steps, [1]), tf.reverse(inputs.candidate_mask, [1])
        states = tf.reverse(self._recurrence(last_first), [1])
        # The first state as a sum, which lists without candidates have, too.
        matrix = self._context(tf.reduce_sum(states[:, :1], axis=1))
        matrix = tf.reshape(matrix, [tf.shape(matrix)[0], self.units, self.context_units])
        return self._local_logit(tf.matmul(states, matrix))[:, :, 0]
