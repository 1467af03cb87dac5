"""Personalized Re-ranking Model."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone
from models.layer_support import (
    PACKAGE,
    dividing_heads,
    not_negative_count,
    positive_count,
)
from models.layers.set_attention import SetAttentionBlock
from models.layers.top_network import top_network
from models.rerankers.base import CandidateFeatures, ListInputs


@tf.keras.utils.register_keras_serializable(PACKAGE)
class PersonalizedReranking(Backbone):
    """PRM: a transformer over the list, whose input says what each candidate is to this user.

    pv_i = MLP(x_i)                                    personalised vector
    e_i = W [x_i, pv_i] + b (+ position_i)             input layer
    logit_i = w' block(.. block(e) ..)_i + c           encoding and output layer

    where x_i are the candidate's features with the user's interest in it (`CandidateFeatures`).

    Source: "Personalized Re-ranking for Recommendation" (arXiv 1904.06813), sections 4.2 to 4.5.
    There pv_i is the last hidden layer of a ranking model trained beforehand; here it is one of the
    same kind, trained jointly. The paper's output is the softmax of the logits over the list and
    its loss the cross entropy of that: `training.list_loss: listwise`. Its positions are those of
    the initial ranking and are added before the projection, which is the same with a projected
    position.

    Positions are off by default: the lists of `examples/rerank` are shuffled, and a position that
    says nothing can only be memorised. With lists in the order of an earlier ranker take as many as
    a list is long. They are counted over real candidates only.

    Shapes: `ListInputs` -> logits [b, L].

    Attributes:
      top_units: widths of the MLP.
      dropout_rate: dropout after each of its layers and inside the blocks.
      units: width of a candidate in the blocks.
      num_blocks: blocks on top of each other.
      num_heads: attention heads of a block; must divide `units`.
      feed_forward_units: hidden width of a block's feed-forward network.
      num_positions: places with a vector of their own, later ones share the last; 0 for none.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        units: int = 64,
        num_blocks: int = 1,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        num_positions: int = 0,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        positive_count(units=units, num_blocks=num_blocks, feed_forward_units=feed_forward_units)
        dividing_heads(num_heads, units=units)
        not_negative_count(num_positions=num_positions)
        self.units = units
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.num_positions = num_positions
        self._features = CandidateFeatures()
        self._top = top_network(top_units, dropout_rate)
        self._projection = tf.keras.layers.Dense(units)
        self._blocks = [
            SetAttentionBlock(num_heads, feed_forward_units, dropout_rate)
            for _ in range(num_blocks)
        ]
        self._logit = tf.keras.layers.Dense(1)

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the positions."""
        if self.num_positions:
            self._positions = self.add_weight(
                name="position_embedding",
                shape=(self.num_positions, self.units),
                initializer=tf.keras.initializers.RandomNormal(stddev=0.05),
            )
        super().build(input_shape)

    def call(self, inputs: ListInputs, training: bool | None = None) -> tf.Tensor:
        """Scores lists."""
        inputs = inputs.without_padding()
        features = self._features(inputs, training=training)
        personalised = self._top(features, training=training)
        encoded = self._projection(tf.concat([features, personalised], axis=-1))
        mask = inputs.candidate_mask
        if self.num_positions:
            before = tf.cumsum(tf.cast(mask, tf.int32), axis=1, exclusive=True)
            places = tf.minimum(before, self.num_positions - 1)
            encoded += tf.cast(tf.gather(self._positions, places), encoded.dtype)
        for block in self._blocks:
            encoded = block((encoded, encoded, mask), training=training)
        return self._logit(encoded)[:, :, 0]
