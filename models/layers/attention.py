"""Attention over a history and between fields, and its softmax over real steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

from models.layer_support import PACKAGE, ConfiguredLayer, dividing_heads
from models.layers.masking import masked_softmax, without_padding
from models.layers.normalization import Dice


def head_projections(units: int) -> tuple[tf.keras.layers.Dense, ...]:
    """Linear layers for queries, keys, values and the heads side by side, all of a width."""
    return tuple(
        tf.keras.layers.Dense(units, use_bias=False, name=name)
        for name in ("query", "key", "value", "heads_out")
    )


def by_head(values: tf.Tensor, num_heads: int) -> tf.Tensor:
    """[b, k, units] -> [b, heads, k, units / heads]."""
    shape = [*_first_axes(values, 1), num_heads, values.shape[2] // num_heads]
    return tf.transpose(tf.reshape(values, shape), [0, 2, 1, 3])


def side_by_side(heads: tf.Tensor) -> tf.Tensor:
    """[b, heads, k, width] -> [b, k, heads * width]."""
    units = heads.shape[1] * heads.shape[3]
    return tf.reshape(tf.transpose(heads, [0, 2, 1, 3]), [*_first_axes(heads, 2), units])


def head_scores(query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Q' k / sqrt(width): [b, heads, q, width], [b or 1, heads, k, width] -> [b, heads, q, k]."""
    return tf.matmul(query, key, transpose_b=True) * float(query.shape[-1]) ** -0.5


def _first_axes(values: tf.Tensor, count_axis: int) -> tuple[tf.Tensor, int | tf.Tensor]:
    """Sizes of the batch and of another axis, the latter as a number where a graph knows it."""
    sizes = tf.shape(values)
    return sizes[0], values.shape[count_axis] or sizes[count_axis]


@tf.keras.utils.register_keras_serializable(PACKAGE)
class TargetAttention(ConfiguredLayer):
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
      dice_statistics: "moving" or "batch" (`models.layers.normalization.Dice`).
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
        query_term = tf.tensordot(candidate, query + difference, axes=1) + self._first_bias
        key_term = tf.tensordot(keys, key - difference, axes=1)
        product_term = tf.tensordot(candidate[..., tf.newaxis, :] * keys, product, axes=1)
        return query_term[..., tf.newaxis, :] + key_term + product_term


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MaskedMultiHeadAttention(ConfiguredLayer):
    """Every query gathers from the members that are real; from none of them it gathers zeros.

    head_h = softmax(Q W_h^Q (X W_h^K)' / sqrt(units / heads)) X W_h^V
    attention(Q, X) = [head_1, ..., head_H] W^O

    Source: "Attention Is All You Need" (arXiv 1706.03762), section 3.2. Neither order nor number of
    the members is known to the weights.

    Shapes: queries [b, q, query width], members [b, k, width], mask [b, k] -> [b, q, units].

    Attributes:
      units: width of the output.
      num_heads: attention heads; must divide `units`.
    """

    def __init__(self, units: int = 64, num_heads: int = 4, **kwargs: object):
        """Creates the layer.

        Raises:
          ValueError: the heads do not divide the units.
        """
        super().__init__(**kwargs)
        dividing_heads(num_heads, units=units)
        self.units = units
        self.num_heads = num_heads
        self._query, self._key, self._value, self._heads_out = head_projections(units)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Attends.

        Args:
          inputs: queries [b, q, query width], members [b, k, width], mask bool [b, k], false on
            padding.

        Returns:
          [b, q, units].
        """
        queries, members, mask = inputs
        members = without_padding(members, mask)
        query, key, value = (
            by_head(projected, self.num_heads)
            for projected in (self._query(queries), self._key(members), self._value(members))
        )
        weights = masked_softmax(head_scores(query, key), mask[:, tf.newaxis, tf.newaxis])
        return self._heads_out(side_by_side(tf.matmul(weights, value)))


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FieldSelfAttention(ConfiguredLayer):
    """The interacting layer of AutoInt: every field gathers from the fields that matter to it.

    For each head: a_mk = softmax_k(q_m' k_k / sqrt(head units)), e_m = sum_k a_mk v_k, with q, k
    and v linear in the fields; output ReLU([heads side by side] + W_res field_m).

    Source: "AutoInt" (arXiv 1810.11921), Eq. (5) to (8). The paper does not scale the products;
    scaling keeps the softmax from saturating.

    Shapes: [n, fields, width] -> [n, fields, num_heads * head_units].

    Attributes:
      num_heads: attention heads.
      head_units: width of a head.
      scaled: whether products are divided by sqrt(head_units).
      residual: whether the projected field is added.
      dropout_rate: dropout of the attention weights.
    """

    def __init__(
        self,
        num_heads: int = 1,
        head_units: int = 64,
        scaled: bool = True,
        residual: bool = True,
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.head_units = head_units
        self.scaled = scaled
        self.residual = residual
        self.dropout_rate = dropout_rate
        self._dropout = tf.keras.layers.Dropout(dropout_rate)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the projections side by side: queries, keys, values and the residual's."""
        projections = 4 if self.residual else 3
        width, units = input_shape[-1], self.num_heads * self.head_units
        # Glorot's limit for one projection; of the kernel as a whole it would be too small.
        limit = (6 / (width + units)) ** 0.5
        self._kernel = self.add_weight(
            name="kernel",
            shape=(width, projections * units),
            initializer=tf.keras.initializers.RandomUniform(-limit, limit),
        )
        super().build(input_shape)

    def call(self, fields: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Lets the fields attend to each other."""
        projected = tf.tensordot(fields, self._kernel, axes=1)
        query, key, value, *residual = tf.split(projected, 4 if self.residual else 3, axis=2)
        query, key, value = (by_head(part, self.num_heads) for part in (query, key, value))
        scores = tf.linalg.matmul(query, key, transpose_b=True)
        if self.scaled:
            scores *= self.head_units**-0.5
        weights = self._dropout(tf.nn.softmax(scores), training=training)
        joined = side_by_side(tf.linalg.matmul(weights, value))
        return tf.nn.relu(joined + residual[0] if residual else joined)

    def fused_fans(self) -> Iterable[tuple[tf.Variable, int, int]]:
        """The fused kernel, with the fans of one of its matrices."""
        return [(self._kernel, self._kernel.shape[0], self.num_heads * self.head_units)]
