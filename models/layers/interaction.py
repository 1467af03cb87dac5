"""Interactions between fields: products, bilinear forms, crosses, compressed ones, graphs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

from models.layer_support import PACKAGE, ConfiguredLayer, dividing_heads, one_of


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FactorizationMachine(tf.keras.layers.Layer):
    """sum over pairs i < j of v_i' v_j, in linear time: 0.5 sum_d [(sum_i v_id)^2 - sum_i v_id^2].

    Source: "DeepFM" (arXiv 1703.04247), Eq. (2), with the embeddings as factors. The first order is
    left to a linear layer.

    Shapes: [n, fields, width] -> [n, 1].
    """

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Sums the products of all pairs of fields."""
        square_of_sum = tf.square(tf.reduce_sum(fields, axis=1))
        sum_of_squares = tf.reduce_sum(tf.square(fields), axis=1)
        return 0.5 * tf.reduce_sum(square_of_sum - sum_of_squares, axis=1, keepdims=True)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class InnerProducts(tf.keras.layers.Layer):
    """p_ij = v_i' v_j for all pairs of fields i < j.

    Source: the inner product of "Product-based Neural Networks" (arXiv 1611.00144), section III-B.
    The paper's matrix p is symmetric; each pair is given once, without the squared lengths on its
    diagonal, as in the authors' code. For fields of width 1 these are the products of all pairs of
    numbers.

    Shapes: [n, fields, width] -> [n, fields * (fields - 1) / 2], pairs ordered by i, then j.
    """

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Multiplies all pairs."""
        count = fields.shape[1]
        products = tf.matmul(fields, fields, transpose_b=True)
        products = tf.reshape(products, [tf.shape(fields)[0], count * count])
        above_diagonal = [i * count + j for i in range(count) for j in range(i + 1, count)]
        return tf.gather(products, tf.constant(above_diagonal, tf.int32), axis=1)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class OuterProduct(tf.keras.layers.Layer):
    """p = sum_i sum_j v_i v_j' = s s' with s = sum_i v_i, all pairs superposed in one matrix.

    Source: the outer product of "Product-based Neural Networks" (arXiv 1611.00144), section III-C.
    p is symmetric; its upper triangle says all and halves the weights of the layer that reads it.

    Shapes: [n, fields, width] -> [n, width * (width + 1) / 2], the upper triangle row by row.
    """

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Multiplies the sum of the fields by itself."""
        total = tf.reduce_sum(fields, axis=1)
        rows = [total[:, i : i + 1] * total[:, i:] for i in range(total.shape[1])]
        return tf.concat(rows, axis=1)


BILINEAR_KINDS = ("field_all", "field_each", "field_interaction")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class BilinearInteraction(ConfiguredLayer):
    """p_ij = (v_i W) * v_j for all pairs of fields i < j.

    The matrix is shared by all pairs ("field_all"), by the pairs of one left field ("field_each",
    W_i), or by none ("field_interaction", W_ij).

    Source: "FiBiNET" (arXiv 1905.09433), Section 3.4.

    Shapes: [n, fields, width] -> [n, fields * (fields - 1) / 2, width], pairs ordered by i, then j.

    Attributes:
      kind: "field_all", "field_each" or "field_interaction".
    """

    def __init__(self, kind: str = "field_all", **kwargs: object):
        """Creates the layer.

        Raises:
          ValueError: the kind is unknown.
        """
        super().__init__(**kwargs)
        one_of(BILINEAR_KINDS, kind=kind)
        self.kind = kind

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the matrices: for each left field those of its pairs side by side."""
        _, fields, width = input_shape
        if self.kind == "field_all":
            matrices = [1]
        elif self.kind == "field_each":
            matrices = [1] * (fields - 1)
        else:
            matrices = list(range(fields - 1, 0, -1))
        # Glorot's limit for one matrix; of all side by side it would be too small.
        limit = (3 / width) ** 0.5
        self._kernels = [
            self.add_weight(
                name=f"pairs_{index}_kernel",
                shape=(width, count * width),
                initializer=tf.keras.initializers.RandomUniform(-limit, limit),
            )
            for index, count in enumerate(matrices)
        ]
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Computes the products of all pairs."""
        _, count, width = fields.shape
        pairs = []
        for left in range(count - 1):
            kernel = self._kernels[0 if self.kind == "field_all" else left]
            projected = tf.linalg.matmul(fields[:, left], kernel)
            matrices = kernel.shape[1] // width
            pairs.append(tf.reshape(projected, [-1, matrices, width]) * fields[:, left + 1 :])
        return tf.concat(pairs, axis=1)

    def fused_fans(self) -> Iterable[tuple[tf.Variable, int, int]]:
        """The fused kernel, with the fans of one of its matrices."""
        return [(kernel, kernel.shape[0], kernel.shape[0]) for kernel in self._kernels]


@tf.keras.utils.register_keras_serializable(PACKAGE)
class BilinearFusion(ConfiguredLayer):
    """logit = b + w_1' o_1 + w_2' o_2 + sum_h o_1h' W_h o_2h, o_1h and o_2h the h-th parts.

    Source: stream-level fusion of "FinalMLP" (arXiv 2304.00902), multi-head bilinear fusion. With k
    heads the bilinear term has 1/k of the weights; the biases of the heads are one.

    Shapes: o_1 [n, first width] and o_2 [n, second width] -> [n, 1].

    Attributes:
      num_heads: parts that both streams are cut into; must divide both widths.
    """

    def __init__(self, num_heads: int = 1, **kwargs: object):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the weights.

        Raises:
          ValueError: the heads do not divide the widths.
        """
        first_width, second_width = (shape[-1] for shape in input_shape)
        dividing_heads(self.num_heads, first_width=first_width, second_width=second_width)
        first, second = first_width // self.num_heads, second_width // self.num_heads
        self._linear = tf.keras.layers.Dense(1)
        # Glorot's deviation of one output that sums over all products.
        deviation = (2.0 / (self.num_heads * first * second + 1)) ** 0.5
        self._kernel = self.add_weight(
            name="kernel",
            shape=(self.num_heads, first, second),
            initializer=tf.keras.initializers.RandomNormal(stddev=deviation),
        )
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Fuses two streams.

        Args:
          inputs: [n, first width], [n, second width].

        Returns:
          [n, 1].
        """
        first, second = inputs
        heads, first_part, second_part = self._kernel.shape
        projected = tf.einsum(
            "nhf,hfs->nhs", tf.reshape(first, [-1, heads, first_part]), self._kernel
        )
        products = projected * tf.reshape(second, [-1, heads, second_part])
        return (
            self._linear(tf.concat(inputs, axis=1))
            + tf.reduce_sum(products, axis=[1, 2])[:, tf.newaxis]
        )


@tf.keras.utils.register_keras_serializable(PACKAGE)
class CompressedInteractionNetwork(ConfiguredLayer):
    """Every layer compresses all products of the last layer's rows with the fields.

    X^k_h = sum_i sum_j W^{k,h}_{ij} (X^{k-1}_i * X^0_j), products element by element, X^0 the
    fields; output p^k_h = sum_d X^k_{hd} of all layers side by side. Layer k holds interactions of
    order k + 1.

    Source: "xDeepFM" (arXiv 1803.05170), Eq. (6) and (7). Without activation, which the paper found
    best (Section 4.4), and without halving the rows between layers.

    Shapes: [n, fields, width] -> [n, sum of units]. The products take n * width * units * fields
    numbers a layer.

    Attributes:
      units: rows H_k of every layer; the useful range is 20 to 200.
    """

    def __init__(self, units: Sequence[int] = (50, 50), **kwargs: object):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.units = tuple(units)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates a kernel [H_{k-1} * fields, H_k] per layer."""
        fields = input_shape[1]
        rows = (fields, *self.units)
        self._kernels = [
            self.add_weight(
                name=f"layer_{layer}_kernel",
                shape=(rows[layer] * fields, rows[layer + 1]),
                initializer="glorot_uniform",
            )
            for layer in range(len(self.units))
        ]
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Computes the interactions of all orders."""
        # Width before rows, so that every layer is one matrix product.
        first = rows = tf.transpose(fields, [0, 2, 1])
        count, width = tf.shape(fields)[0], fields.shape[2]
        pooled = []
        for kernel in self._kernels:
            products = rows[:, :, :, tf.newaxis] * first[:, :, tf.newaxis]
            products = tf.reshape(products, [count * width, kernel.shape[0]])
            compressed = tf.linalg.matmul(products, kernel)
            rows = tf.reshape(compressed, [count, width, kernel.shape[1]])
            pooled.append(tf.reduce_sum(rows, axis=1))
        return tf.concat(pooled, axis=1)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class VectorCross(tf.keras.layers.Layer):
    """x_{l+1} = x_0 (x_l' w) + b + x_l, a cross with one weight vector.

    Source: "Deep & Cross Network for Ad Click Predictions" (arXiv 1708.05123), Eq. (3). For the
    full matrices of version 2 take `tfrs.layers.dcn.Cross`.

    Shapes: x_0 [n, width] and x_l [n, width] -> [n, width].
    """

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates weight vector and bias."""
        width = input_shape[0][-1]
        self._weight = self.add_weight(
            name="kernel", shape=(width, 1), initializer="glorot_uniform"
        )
        self._bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Crosses x_l with x_0."""
        first, crossed = inputs
        return first * tf.linalg.matmul(crossed, self._weight) + self._bias + crossed


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FieldGraph(ConfiguredLayer):
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
        receiver_scores, sender_scores = tf.split(
            tf.tensordot(fields, self._edge, axes=1), 2, axis=2
        )
        scores = tf.nn.leaky_relu(receiver_scores + tf.transpose(sender_scores, [0, 2, 1]))
        others = tf.eye(fields.shape[1]) == 0
        return tf.nn.softmax(tf.where(others, scores, scores.dtype.min))

    def fused_fans(self) -> Iterable[tuple[tf.Variable, int, int]]:
        """The kernel of the edges' scorer, which reads two fields at once, with its fans."""
        return [(self._edge, 2 * self._edge.shape[0], 1)]
