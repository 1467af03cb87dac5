"""Fi-GNN: fields exchange states over a graph."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, FieldStack, beside_numbers, flat
from models.layer_support import PACKAGE, not_negative_count, positive_count
from models.layers.attention import FieldSelfAttention
from models.layers.interaction import FieldGraph
from models.layers.top_network import top_network


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FeatureInteractionGraphNetwork(Backbone):
    """Fi-GNN: a graph network over the fields, whose nodes vote on the score.

    h = FieldGraph(v); logit = w' x + b + sum_i a_i (c' h_i) (+ u' MLP(x)) with
    a = sigmoid(W [h_1 .. h_f] + b'), over the fields v = [interest, candidate, side, numbers]
    and x = [v, numeric].

    Source: "Fi-GNN: Modeling Feature Interactions via Graph Neural Networks for CTR Prediction"
    (arXiv 1910.05552), Sections 3.4 and 3.5. A vote's weight may depend on all nodes. The
    self-attention that the paper puts before the graph (Section 3.3) is there with
    `attention_heads`.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of the deep part.
      dropout_rate: dropout of the final states and after each layer of the deep part.
      num_steps: steps of the graph.
      residual: whether the fields are added after every step.
      attention_heads: heads, each as wide as a field, of a self-attention before the graph; 0 for
        none.
      deep_part: whether a dense network scores beside the graph.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        num_steps: int = 2,
        residual: bool = True,
        attention_heads: int = 0,
        deep_part: bool = False,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        positive_count(num_steps=num_steps)
        not_negative_count(attention_heads=attention_heads)
        self.num_steps = num_steps
        self.residual = residual
        self.attention_heads = attention_heads
        self.deep_part = deep_part
        self._fields = FieldStack(numbers_as_field=True)
        self._linear = tf.keras.layers.Dense(1)
        self._graph = FieldGraph(num_steps, residual)
        self._dropout = tf.keras.layers.Dropout(dropout_rate)
        self._vote = tf.keras.layers.Dense(1, use_bias=False)
        if deep_part:
            self._deep = top_network(top_units, dropout_rate, name="deep")
            self._logit = tf.keras.layers.Dense(1, use_bias=False)

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates what needs to know the fields: self-attention and the weights of the votes."""
        shapes = BackboneInputs(*input_shape)
        _, item_fields, width = shapes.candidate
        if self.attention_heads:
            self._attention = FieldSelfAttention(
                self.attention_heads, width, dropout_rate=self.dropout_rate
            )
        fields = 2 + item_fields + shapes.side_fields[1]
        self._vote_weights = tf.keras.layers.Dense(fields, activation="sigmoid")
        super().build(input_shape)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        fields = self._fields(inputs, training=training)
        joined = beside_numbers(fields, inputs.numeric)
        nodes = self._attention(fields, training=training) if self.attention_heads else fields
        states = self._dropout(self._graph(nodes), training=training)
        votes = self._vote(states)[:, :, 0] * self._vote_weights(flat(states))
        logit = self._linear(joined) + tf.reduce_sum(votes, axis=1, keepdims=True)
        if self.deep_part:
            logit += self._logit(self._deep(joined, training=training))
        return logit
