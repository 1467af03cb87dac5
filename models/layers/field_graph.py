"""A graph neural network whose nodes are fields."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FieldGraph(tf.keras.layers.Layer):
    """Fi-GNN: fields are the nodes of a complete graph and exchange states over its edges.

    Edge weights come from the fields e and stay the same in all steps:

      A_ij = softmax over j != i of LeakyReLU(w' [e_i, e_j])

    Step t, with h^0 = e and matrices of each field for what it sends and what it receives:

      a_i = W_in^i sum_{j != i} A_ij W_out^j h_j^{t-1} + b
      h_i^t = GRU(a_i, h_i^{t-1}) + e_i

    Source: "Fi-GNN" (arXiv 1910.05552), Section 3.4. All steps share their weights. The weights of
    the edges that enter a node sum to 1, as in graph attention networks (arXiv 1710.10903).

    Shapes: [n, fields, width] -> [n, fields, width]; at least two fields.

    Attributes:
      num_steps: steps of the graph; every step lets a field see one order further.
      residual: whether the fields are added after every step.
    """

    def __init__(self, num_steps: int = 2, residual: bool = True, **kwargs: object):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.num_steps = num_steps
        self.residual = residual

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the edges' scorer, the matrices of every field and the recurrent cell."""
        _, fields, width = input_shape
        self._edge = self.add_weight(
            name="edge_kernel", shape=(width, 2), initializer="glorot_uniform"
        )
        # Glorot's limit for one matrix; of all fields' together it would be too small.
        limit = (3 / width) ** 0.5
        self._send, self._receive = (
            self.add_weight(
                name=name,
                shape=(fields, width, width),
                initializer=tf.keras.initializers.RandomUniform(-limit, limit),
            )
            for name in ("send_kernel", "receive_kernel")
        )
        self._bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")
        self._cell = tf.keras.layers.GRUCell(width, reset_after=False)
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Runs the steps."""
        _, count, width = fields.shape
        edges = self.edges(fields)
        states = fields
        for _ in range(self.num_steps):
            sent = tf.einsum("nfw,fwv->nfv", states, self._send)
            received = tf.linalg.matmul(edges, sent)
            received = tf.einsum("nfw,fwv->nfv", received, self._receive) + self._bias
            updated, _ = self._cell(
                tf.reshape(received, [-1, width]), [tf.reshape(states, [-1, width])]
            )
            states = tf.reshape(updated, [-1, count, width])
            if self.residual:
                states += fields
        return states

    def edges(self, fields: tf.Tensor) -> tf.Tensor:
        """Edge weights [n, fields, fields]: row i says how much field i takes from each other."""
        of_receiver, of_sender = tf.split(tf.tensordot(fields, self._edge, axes=1), 2, axis=2)
        scores = tf.nn.leaky_relu(of_receiver + tf.transpose(of_sender, [0, 2, 1]))
        others = tf.eye(fields.shape[1]) == 0
        return tf.nn.softmax(tf.where(others, scores, scores.dtype.min))

    def fused_fans(self) -> Iterable[tuple[tf.Variable, int, int]]:
        """See `models.initialization.FusedKernels`: the edges' scorer reads two fields at once."""
        return [(self._edge, 2 * self._edge.shape[0], 1)]

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_steps": self.num_steps,
            "residual": self.residual,
        }
