"""Attention between sets and lists, as re-rankers use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from models.layer_support import PACKAGE, ConfiguredLayer, positive_count
from models.layers.attention import MaskedMultiHeadAttention
from models.layers.masking import masked_softmax, without_padding


class AttendingBlock(ConfiguredLayer):
    """Adds what was attended to, then what a feed-forward network says, normalising both times.

    B = LayerNorm(Q + Dropout(attended))
    block = LayerNorm(B + Dropout(activation(B W_1 + b_1) W_2 + b_2))

    Source: "Attention Is All You Need" (arXiv 1706.03762), section 3.1. Blocks derive from this
    class and bring the attention.

    Attributes:
      num_heads: attention heads.
      feed_forward_units: hidden width of the feed-forward network.
      dropout_rate: dropout of what attention and feed-forward network add, in training only.
    """

    def __init__(
        self,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Keeps the options."""
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.dropout_rate = dropout_rate

    def _build_transformation(
        self, width: int, activation: Callable[[tf.Tensor], tf.Tensor]
    ) -> None:
        """Creates all but the attention, for queries of a width."""
        self._hidden = tf.keras.layers.Dense(self.feed_forward_units, activation=activation)
        self._narrow = tf.keras.layers.Dense(width)
        self._norms = [tf.keras.layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self._dropouts = [tf.keras.layers.Dropout(self.dropout_rate) for _ in range(2)]

    def _transformed(
        self, queries: tf.Tensor, attended: tf.Tensor, training: bool | None
    ) -> tf.Tensor:
        """The block's output [b, q, width] of queries and what each attended to."""
        gathered = self._norms[0](queries + self._dropouts[0](attended, training=training))
        added = self._narrow(self._hidden(gathered))
        return self._norms[1](gathered + self._dropouts[1](added, training=training))


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SetAttentionBlock(AttendingBlock):
    """Attention of a set to another one, or to itself, then a feed-forward network for each member.

    B = LayerNorm(Q + Dropout(attention(Q, X)))
    block(Q, X) = LayerNorm(B + Dropout(ReLU(B W_1 + b_1) W_2 + b_2))

    Source: the multi-head attention block of "SetRank" (arXiv 1912.05891), section 3.3, and the
    encoder block of "Personalized Re-ranking for Recommendation" (arXiv 1904.06813), section 4.3:
    the same block, that of "Attention Is All You Need" (arXiv 1706.03762), without positions.
    A permutation of the queries permutes the output; one of the members changes nothing.

    Shapes: queries [b, q, width], members [b, k, any width], mask of the members [b, k] ->
    [b, q, width].

    Attributes:
      num_heads: attention heads; must divide the width of the queries.
      feed_forward_units: hidden width of the feed-forward network.
      dropout_rate: dropout of what attention and feed-forward network add, in training only.
    """

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates attention and feed-forward network, as wide as a query."""
        width = input_shape[0][-1]
        self._attention = MaskedMultiHeadAttention(width, self.num_heads)
        self._build_transformation(width, tf.nn.relu)
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Attends and transforms.

        Args:
          inputs: queries [b, q, width], members [b, k, any width], mask bool [b, k], false on
            padding.
          training: whether dropout is active.

        Returns:
          [b, q, width].
        """
        queries, members, mask = inputs
        attended = self._attention((queries, members, mask))
        return self._transformed(queries, attended, training)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class InducedSetAttention(ConfiguredLayer):
    """The set is read by trained inducing points I, and its members read what these have gathered.

    H = block(I, X),   IMSAB(X) = block(X, H)

    Source: the induced multi-head self-attention block of "SetRank" (arXiv 1912.05891), section
    3.3. With m points the cost grows with m * size in place of size squared, and the size of the
    set, which may differ between training and use, matters less.

    Shapes: set [b, L, width], mask [b, L] -> [b, L, width].

    Attributes:
      num_points: inducing points; the paper takes 20.
      num_heads: attention heads of both blocks; must divide the width.
      feed_forward_units: hidden width of their feed-forward networks.
      dropout_rate: dropout inside the blocks, in training only.
    """

    def __init__(
        self,
        num_points: int = 20,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Creates the blocks.

        Raises:
          ValueError: there is no inducing point.
        """
        super().__init__(**kwargs)
        positive_count(num_points=num_points)
        self.num_points = num_points
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.dropout_rate = dropout_rate
        self._gather, self._spread = (
            SetAttentionBlock(num_heads, feed_forward_units, dropout_rate, name=name)
            for name in ("gather", "spread")
        )

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the inducing points."""
        self._points = self.add_weight(
            # Queries of an attention; no embedding, so no name by which one is initialised.
            name="points",
            shape=(self.num_points, input_shape[0][-1]),
            initializer="glorot_uniform",
        )
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Lets the members of the set know of each other.

        Args:
          inputs: set [b, L, width], mask bool [b, L], false on padding.
          training: whether dropout is active.

        Returns:
          [b, L, width].
        """
        members, mask = inputs
        members = without_padding(members, mask)
        batch = tf.shape(members)[0]
        points = tf.convert_to_tensor(self._points)
        points = tf.broadcast_to(points, [batch, *self._points.shape])
        gathered = self._gather((points, members, mask), training=training)
        all_real = tf.ones([batch, self.num_points], tf.bool)
        return self._spread((members, gathered, all_real), training=training)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SetToListAttention(tf.keras.layers.Layer):
    """SLAttention: every candidate reads the set and the history by way of their affinity.

    C_ij = tanh((s_i' W_C l_j / sqrt(d) + F_ij) D_ij)          affinity of candidate i and step j
    P_ik = s_i' W_S s_k / sqrt(d),   R_ij = s_i' W_L l_j / sqrt(d)
    A^S_i = softmax_k tanh(P_ik + mean_j R_ij C_kj)            weights of the candidates, for i
    A^L_i = softmax_j tanh(R_ij + mean_k P_ik C_kj)            weights of the steps, for i
    output_i = [sum_k A^S_ik s_k, sum_j A^L_ij l_j]

    with F the feature-level affinity, D the decay of interests, both given, and d the width of a
    candidate.

    Source: "Multi-Level Interaction Reranking with User Behavior History" (MIR, arXiv 2204.09370),
    SLAttention. There W_S and W_L have a column for each place of the list, which ties them to one
    length and one order; here the column of a place is made from the candidate that stands there,
    so that a permutation of the candidates permutes the output, as the paper wants. Products are
    scaled and sums are means, which keeps tanh from saturating on wide inputs and long histories.

    Shapes: set [b, L, d], its mask [b, L], list [b, T, list width], its mask [b, T], F [b, L, T],
    D [b, L, T] -> [b, L, d + list width].
    """

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the three matrices."""
        set_width, list_width = input_shape[0][-1], input_shape[2][-1]
        self._affinity, self._between_candidates, self._to_steps = (
            self.add_weight(name=name, shape=(set_width, width), initializer="glorot_uniform")
            for name, width in (
                ("affinity_kernel", list_width),
                ("between_candidates_kernel", set_width),
                ("to_steps_kernel", list_width),
            )
        )
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Attends.

        Args:
          inputs: set [b, L, d], its mask bool [b, L], list [b, T, list width], its mask bool
            [b, T], feature-level affinity [b, L, T], decay [b, L, T].

        Returns:
          [b, L, d + list width].
        """
        members, set_mask, steps, list_mask, features, decay = inputs
        members, steps = without_padding(members, set_mask), without_padding(steps, list_mask)
        pairs = set_mask[:, :, tf.newaxis] & list_mask[:, tf.newaxis]
        features, decay = without_padding(features, pairs), without_padding(decay, pairs)
        scale = float(members.shape[-1]) ** -0.5
        projected = scale * members

        def products(kernel: tf.Variable, others: tf.Tensor) -> tf.Tensor:
            return tf.matmul(tf.tensordot(projected, kernel, axes=1), others, transpose_b=True)

        # Without decay, the affinity of padding is 0.
        affinity = tf.tanh((products(self._affinity, steps) + features) * decay)
        candidates = products(self._between_candidates, members)
        history = products(self._to_steps, steps)
        for_candidates = candidates + _mean(
            tf.matmul(history, affinity, transpose_b=True), list_mask
        )
        for_history = history + _mean(tf.matmul(candidates, affinity), set_mask)
        candidate_weights = masked_softmax(tf.tanh(for_candidates), set_mask[:, tf.newaxis])
        history_weights = masked_softmax(tf.tanh(for_history), list_mask[:, tf.newaxis])
        return tf.concat(
            [tf.matmul(candidate_weights, members), tf.matmul(history_weights, steps)], axis=-1
        )


def _mean(sums: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Divides sums [b, L, ...] over what is real in mask [b, ...]; 0 over nothing."""
    count = tf.reduce_sum(tf.cast(mask, sums.dtype), axis=1)[:, tf.newaxis, tf.newaxis]
    return tf.math.divide_no_nan(sums, count)


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FeatureAffinity(tf.keras.layers.Layer):
    """C_ij = b + sum_p sum_q a_pq v_ip' W h_jq, over the fields v_ip of i and h_jq of j.

    Source: the feature-level interaction of "Multi-Level Interaction Reranking with User Behavior
    History" (MIR, arXiv 2204.09370), in SLAttention. The weighted sum over pairs of fields is what
    the authors write as a convolution whose kernel and stride are the numbers of fields.

    Shapes: set fields [b, L, set fields, width], list fields [b, T, list fields, width] ->
    [b, L, T].
    """

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the matrix of the fields and the weights of their pairs."""
        (_, _, set_fields, width), (_, _, list_fields, _) = input_shape
        self._kernel = self.add_weight(
            name="kernel", shape=(width, width), initializer="glorot_uniform"
        )
        self._pairs = self.add_weight(
            name="pairs_kernel", shape=(set_fields, list_fields), initializer="glorot_uniform"
        )
        self._bias = self.add_weight(name="bias", shape=(), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Compares all pairs of members.

        Args:
          inputs: set fields [b, L, set fields, width], list fields [b, T, list fields, width].

        Returns:
          [b, L, T].
        """
        set_items, list_items = inputs
        projected = tf.tensordot(set_items, self._kernel, axes=1)
        # One vector for each field of the list, so that the pairs are one product of matrices.
        mixed = tf.einsum("blpw,pq->blqw", projected, self._pairs)
        width = list_items.shape[2] * list_items.shape[3]
        flat_set = tf.reshape(mixed, [tf.shape(mixed)[0], tf.shape(mixed)[1], width])
        flat_list = tf.reshape(
            list_items, [tf.shape(list_items)[0], tf.shape(list_items)[1], width]
        )
        return tf.matmul(flat_set, flat_list, transpose_b=True) + self._bias
