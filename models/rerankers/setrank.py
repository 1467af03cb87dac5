"""SetRank: a ranking model whose order of the input does not matter."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone
from models.layer_support import (
    PACKAGE,
    dividing_heads,
    one_of,
    positive_count,
)
from models.layers.set_attention import InducedSetAttention, SetAttentionBlock
from models.layers.top_network import top_network
from models.rerankers.base import CandidateFeatures, ListInputs

ATTENTIONS = ("induced", "full")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SetRank(Backbone):
    """SetRank: blocks of self-attention over the candidates as a set.

    e_i = W MLP(x_i) + b                                   representation layer
    logit_i = w' block(.. block(e) ..)_i + c               encoding and ranking layer

    where x_i are the candidate's features (`CandidateFeatures`) and a block is IMSAB, with
    inducing points ("induced"), or MSAB, candidates with candidates ("full"). A permutation of the
    candidates permutes the scores, in training and in use.

    Source: "SetRank: Learning a Permutation-Invariant Ranking Model for Information Retrieval"
    (arXiv 1912.05891), section 3. The ordinal embedding of an initial ranking is left out, because
    there is none; the MLP stands before the blocks, where the paper has ready features.

    Shapes: `ListInputs` -> logits [b, L].

    Attributes:
      top_units: widths of the MLP.
      dropout_rate: dropout after each of its layers and inside the blocks.
      attention: "induced" or "full".
      units: width of a candidate in the blocks.
      num_blocks: blocks on top of each other.
      num_heads: attention heads of a block; must divide `units`.
      feed_forward_units: hidden width of a block's feed-forward network.
      num_points: inducing points of "induced"; the paper takes 20.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        attention: str = "induced",
        units: int = 64,
        num_blocks: int = 1,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        num_points: int = 20,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        one_of(ATTENTIONS, attention=attention)
        positive_count(
            units=units,
            num_blocks=num_blocks,
            feed_forward_units=feed_forward_units,
            num_points=num_points,
        )
        dividing_heads(num_heads, units=units)
        self.attention = attention
        self.units = units
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.num_points = num_points
        self._features = CandidateFeatures()
        self._top = top_network(top_units, dropout_rate)
        self._projection = tf.keras.layers.Dense(units)
        self._blocks = [
            InducedSetAttention(num_points, num_heads, feed_forward_units, dropout_rate)
            if attention == "induced"
            else SetAttentionBlock(num_heads, feed_forward_units, dropout_rate)
            for _ in range(num_blocks)
        ]
        self._logit = tf.keras.layers.Dense(1)

    def call(self, inputs: ListInputs, training: bool | None = None) -> tf.Tensor:
        """Scores lists."""
        inputs = inputs.without_padding()
        features = self._features(inputs, training=training)
        encoded = self._projection(self._top(features, training=training))
        mask = inputs.candidate_mask
        for block in self._blocks:
            members = (encoded, mask) if self.attention == "induced" else (encoded, encoded, mask)
            encoded = block(members, training=training)
        return self._logit(encoded)[:, :, 0]
