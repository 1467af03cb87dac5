"""MIR: Multi-level Interaction Re-ranking."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import NUM_RATING_FEATURES, Backbone
from models.layer_support import PACKAGE, positive_count
from models.layers.attention import MaskedMultiHeadAttention
from models.layers.sequence import AttentionGRU, steps_after
from models.layers.set_attention import FeatureAffinity, SetToListAttention
from models.layers.top_network import top_network
from models.rerankers.base import CandidateFeatures, ListInputs

DECAY_UNITS = 32


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MultiLevelInteractionReranking(Backbone):
    """MIR: the candidates as a set and the history as a list meet on the level of items and fields.

    s_i = [e_i, attention(e)_i],   e_i = W_e x_i + b_e                      intra-set interaction
    l_j = [h_j, GRU(h)_j, backward GRU(h)_j],   h_j = W_h step_j + b_h      intra-list interaction
    D_ij = 1 + exp(-theta_i log_2(1 + steps after j)),   theta_i = softplus(MLP_D(x_i))
    r_i = SLAttention(s, l, F, D)_i                                         set-to-list interaction
    logit_i = w' MLP([x_i, r_i]) + b

    where x_i are the candidate's features (`CandidateFeatures`) and F is the feature-level affinity
    (`FeatureAffinity`) of the candidate's fields **and its side fields** to those of the step. So
    knowledge takes part in both levels; the published code of REKI (arXiv 2408.10520) ignores it.
    D tells long-term interest, which keeps 1, from short-term interest, which decays.

    Source: "Multi-Level Interaction Reranking with User Behavior History" (arXiv 2204.09370). What
    differs: `models.layers.set_attention` says why its weights know no places; GRU in place
    of LSTM; the rank of a step in place of the time since it, and a decay per user and candidate in
    place of one per user; x_i holds the interest by target attention too.

    Shapes: `ListInputs` -> logits [b, L].

    Attributes:
      top_units: widths of the MLP.
      dropout_rate: dropout after each of its layers.
      units: width of candidates and steps, of the intra-set attention and of each GRU.
      num_heads: heads of the intra-set attention; must divide `units`.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        units: int = 32,
        num_heads: int = 4,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        positive_count(units=units)
        self.units = units
        self.num_heads = num_heads
        self._features = CandidateFeatures()
        self._candidates = tf.keras.layers.Dense(units)
        self._intra_set = MaskedMultiHeadAttention(units, num_heads)
        self._steps = tf.keras.layers.Dense(units)
        self._forwards, self._backwards = (
            AttentionGRU(units, "gru", return_sequences=True, name=name)
            for name in ("forwards", "backwards")
        )
        self._affinity = FeatureAffinity()
        self._decay_hidden = tf.keras.layers.Dense(DECAY_UNITS, activation=tf.nn.leaky_relu)
        self._decay = tf.keras.layers.Dense(1, activation="softplus")
        self._set_to_list = SetToListAttention()
        self._top = top_network(top_units, dropout_rate)
        self._logit = tf.keras.layers.Dense(1)

    def call(self, inputs: ListInputs, training: bool | None = None) -> tf.Tensor:
        """Scores lists."""
        inputs = inputs.without_padding()
        features = self._features(inputs, training=training)
        mask, history_mask = inputs.candidate_mask, inputs.history_mask
        candidates = self._candidates(features)
        intra_set = self._intra_set((candidates, candidates, mask))
        read = self._set_to_list(
            (
                tf.concat([candidates, intra_set], axis=-1),
                mask,
                self._intra_list(inputs),
                history_mask,
                self._feature_affinity(inputs),
                self._emphasis(features, history_mask),
            )
        )
        joined = tf.concat([features, read], axis=-1)
        return self._logit(self._top(joined, training=training))[:, :, 0]

    def _intra_list(self, inputs: ListInputs) -> tf.Tensor:
        """Steps that know their neighbours: [b, T, 3 * units]."""
        steps, mask = self._steps(inputs.history), inputs.history_mask
        forwards = self._forwards((steps, mask))
        backwards = self._backwards((tf.reverse(steps, [1]), tf.reverse(mask, [1])))
        return tf.concat([steps, forwards, tf.reverse(backwards, [1])], axis=-1)

    def _feature_affinity(self, inputs: ListInputs) -> tf.Tensor:
        """Affinity of fields: [b, L, T]. The rating features at the end of a step are no field."""
        width = inputs.candidate.shape[3]
        count = (inputs.history.shape[2] - NUM_RATING_FEATURES) // width
        lists, length = tf.unstack(tf.shape(inputs.history)[:2])
        steps = tf.reshape(inputs.history[:, :, : count * width], [lists, length, count, width])
        return self._affinity((tf.concat([inputs.candidate, inputs.side_fields], axis=2), steps))

    def _emphasis(self, features: tf.Tensor, history_mask: tf.Tensor) -> tf.Tensor:
        """1 + decay, [b, L, T]: long-term interest keeps 1, the newest step has 2."""
        theta = self._decay(self._decay_hidden(features))
        distance = tf.cast(steps_after(history_mask), theta.dtype)
        age = tf.math.log1p(distance) / tf.math.log(tf.constant(2.0, theta.dtype))
        return 1.0 + tf.exp(-theta * age[:, tf.newaxis])
