"""Layers over the user's history in order: gated recurrent units and transformers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tensorflow as tf

from models.layer_support import PACKAGE, ConfiguredLayer, dividing_heads, one_of, positive_count
from models.layers.attention import by_head, head_projections, head_scores, side_by_side
from models.layers.masking import without_padding
from models.layers.set_attention import AttendingBlock

GRU_KINDS = ("gru", "aigru", "agru", "augru")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class AttentionGRU(ConfiguredLayer):
    """The recurrences of Deep Interest Evolution Network (arXiv 1809.03672).

    With i_t the input, a_t its attention weight and h_t the state, Eq. (2) to (5):

      u_t = sigmoid(W_u i_t + U_u h_{t-1} + b_u)            update gate
      r_t = sigmoid(W_r i_t + U_r h_{t-1} + b_r)            reset gate
      g_t = tanh(W_h i_t + r_t * (U_h h_{t-1}) + b_h)       proposed state
      h_t = (1 - u_t) * h_{t-1} + u_t * g_t

    - "gru": as written, without attention.
    - "aigru", Eq. (9): the input is a_t i_t.
    - "agru", Eq. (10): a_t stands in place of u_t, and the layer has no update gate.
    - "augru", Eq. (11) and (12): a_t u_t stands in place of u_t.

    Padding leaves the state as it is; the first state is zero. A history of batch 1 that n
    candidates share is projected once.

    Shapes: steps [m, length, width], mask [m, length] and, except for "gru", weights [n, length]
    with m = n or m = 1 -> the last state [n, units], or all states [n, length, units] (n = m for
    "gru").

    Attributes:
      units: width of the state.
      kind: "gru", "aigru", "agru" or "augru".
      return_sequences: whether all states are returned, or the last one.
    """

    def __init__(
        self, units: int, kind: str = "augru", return_sequences: bool = False, **kwargs: object
    ):
        """Creates the layer.

        Raises:
          ValueError: the kind is unknown.
        """
        super().__init__(**kwargs)
        one_of(GRU_KINDS, kind=kind)
        self.units = units
        self.kind = kind
        self.return_sequences = return_sequences

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the gates side by side: reset gate, proposed state, update gate."""
        gates = 2 if self.kind == "agru" else 3
        self._kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[0][-1], gates * self.units),
            initializer="glorot_uniform",
        )
        self._recurrent_kernel = self.add_weight(
            name="recurrent_kernel",
            shape=(self.units, gates * self.units),
            initializer="orthogonal",
        )
        self._bias = self.add_weight(name="bias", shape=(gates * self.units,), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Runs over the histories, oldest step first.

        Args:
          inputs: steps [m, length, width], mask bool [m, length] and, except for "gru", attention
            weights [n, length].

        Returns:
          [n, units] or [n, length, units].
        """
        steps, mask, *weights = inputs
        projected = tf.tensordot(without_padding(steps, mask), self._kernel, axes=1)
        if self.kind == "aigru":
            projected *= weights[0][:, :, tf.newaxis]
        elements = [_time_first(projected + self._bias), _time_first(mask[:, :, tf.newaxis])]
        if self.kind in ("agru", "augru"):
            elements.append(_time_first(weights[0][:, :, tf.newaxis]))
        rows = tf.shape(weights[0] if weights else mask)[0]
        start = tf.zeros([rows, self.units], projected.dtype)
        if not self.return_sequences:
            return tf.foldl(self._step, tuple(elements), start)
        length = tf.shape(mask)[1]
        states = tf.scan(self._step, tuple(_at_least_one_step(part) for part in elements), start)
        return tf.transpose(states[:length], [1, 0, 2])

    def _step(self, state: tf.Tensor, step: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """The next state [n, units] from the last one and a step of [n or 1, ...]."""
        projected, real, *weight = step
        recurrent = tf.linalg.matmul(state, self._recurrent_kernel)
        gates = 2 if self.kind == "agru" else 3
        input_gates, state_gates = (
            tf.split(projected, gates, axis=1),
            tf.split(recurrent, gates, axis=1),
        )
        reset = tf.sigmoid(input_gates[0] + state_gates[0])
        proposed = tf.tanh(input_gates[1] + reset * state_gates[1])
        if self.kind == "agru":
            update = weight[0]
        else:
            update = tf.sigmoid(input_gates[2] + state_gates[2])
            if self.kind == "augru":
                update *= weight[0]
        return tf.where(real, (1.0 - update) * state + update * proposed, state)

    def fused_fans(self) -> Iterable[tuple[tf.Variable, int, int]]:
        """The fused kernels, each with the fans of one of its matrices."""
        return [(self._kernel, self._kernel.shape[0], self.units)]


def _time_first(steps: tf.Tensor) -> tf.Tensor:
    return tf.transpose(steps, [1, 0, 2])


def _at_least_one_step(steps: tf.Tensor) -> tf.Tensor:
    """Adds a step of padding to an empty sequence, of which a graph could stack no states."""
    missing = tf.maximum(1 - tf.shape(steps)[0], 0)
    return tf.pad(steps, [[0, missing], [0, 0], [0, 0]])


def next_step_loss(
    states: tf.Tensor, items: tf.Tensor, mask: tf.Tensor, negatives: tf.Tensor
) -> tf.Tensor:
    """A state must tell the next item of its history from a random one.

    loss = -mean_t [log sigmoid(h_t' e_{t+1}) + log(1 - sigmoid(h_t' n_{t+1}))], where e_{t+1} is
    the item of the next step and n_{t+1} one that another step of the batch holds.

    Source: "Deep Interest Evolution Network" (arXiv 1809.03672), Eq. (6), averaged over steps too,
    so that its weight does not depend on the history's length.

    Args:
      states: [m, length, width].
      items: [m, length, width].
      mask: bool [m, length], false on padding.
      negatives: int [m, length], for each step the position, in the order of the flattened
        [m * length] steps of the batch, of the item that is its negative. Where that one is
        padding, the step has no negative.

    Returns:
      A float32 scalar; 0 where no history has two steps.
    """
    states, items = (
        without_padding(tf.cast(values, tf.float32), mask) for values in (states, items)
    )
    width = items.shape[2]
    wrong = tf.gather(tf.reshape(items, [-1, width]), negatives)
    wrong_mask = tf.gather(tf.reshape(mask, [-1]), negatives)
    following = mask[:, :-1] & mask[:, 1:]
    right = _log_sigmoid(states, items, following)
    return -(right + _log_sigmoid(states, -wrong, following & wrong_mask[:, 1:]))


def _log_sigmoid(states: tf.Tensor, items: tf.Tensor, counted: tf.Tensor) -> tf.Tensor:
    products = tf.reduce_sum(states[:, :-1] * items[:, 1:], axis=2)
    shares = tf.cast(counted, tf.float32)
    total = tf.reduce_sum(tf.math.log_sigmoid(products) * shares)
    return tf.math.divide_no_nan(total, tf.reduce_sum(shares))


@tf.keras.utils.register_keras_serializable(PACKAGE)
class TransformerBlock(AttendingBlock):
    """Self-attention over the steps of a history and its candidate, then a feed-forward network.

    S = [history, candidate]
    head = softmax(S W_Q (S W_K)' / sqrt(width / heads)) S W_V,   MH(S) = [head_1, ..., head_h] W_H
    S' = LayerNorm(S + Dropout(MH(S)))
    F = LayerNorm(S' + Dropout(LeakyReLU(S' W_1 + b_1) W_2 + b_2))

    Source: "Behavior Sequence Transformer for E-commerce Recommendation in Alibaba"
    (arXiv 1905.06874), section 2.2. Nothing attends to padding. The candidate attends to itself, so
    that an empty history is no special case.

    With `candidate_only` the block answers for the candidate alone: one row of the attention in
    place of all of them, and the keys and values of a shared history are computed once.

    Shapes: candidate [n, width], history [n or 1, length, width], mask [n or 1, length] ->
    [n, length + 1, width], the candidate last; with `candidate_only` [n, 1, width].

    Attributes:
      num_heads: attention heads; must divide the width.
      feed_forward_units: hidden width of the feed-forward network.
      dropout_rate: dropout of what attention and feed-forward network add, in training only.
      candidate_only: whether only the candidate's output is computed.
    """

    def __init__(
        self,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        dropout_rate: float = 0.0,
        candidate_only: bool = False,
        **kwargs: object,
    ):
        """Creates the block."""
        super().__init__(num_heads, feed_forward_units, dropout_rate, **kwargs)
        self.candidate_only = candidate_only

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the projections and the feed-forward network.

        Raises:
          ValueError: the heads do not divide the width.
        """
        width = input_shape[0][-1]
        dividing_heads(self.num_heads, width=width)
        self._query, self._key, self._value, self._heads_out = head_projections(width)
        self._build_transformation(width, tf.nn.leaky_relu)
        super().build(input_shape)

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor], training: bool | None = None
    ) -> tf.Tensor:
        """Attends and transforms.

        Args:
          inputs: candidate [n, width], history [n or 1, length, width], mask bool [n or 1, length].
          training: whether dropout is active.

        Returns:
          [n, length + 1, width], or [n, 1, width] with `candidate_only`.
        """
        candidate, history, mask = inputs
        history = without_padding(history, mask)
        candidate = candidate[:, tf.newaxis]
        if self.num_heads == 1:
            # With one head a history of batch 1 must not be left to broadcasting: oneDNN's batched
            # product of [n, 1, a, d] and [1, 1, d, b] is wrong (TensorFlow 2.21).
            history = for_every_candidate(history, candidate)
        steps = candidate
        if not self.candidate_only:
            steps = tf.concat([for_every_candidate(history, candidate), candidate], axis=1)
        attended = self._attention(steps, candidate, history, mask)
        return self._transformed(steps, attended, training)

    def _attention(
        self, steps: tf.Tensor, candidate: tf.Tensor, history: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """Attention of every given step to the history and the candidate: [n, steps, width].

        Scores for history and candidate are computed apart and joined: the products broadcast a
        history of batch 1, which therefore is not repeated.
        """
        query = by_head(self._query(steps), self.num_heads)
        scores = tf.concat(
            [
                head_scores(query, by_head(self._key(part), self.num_heads))
                for part in (history, candidate)
            ],
            axis=-1,
        )
        attends = tf.pad(mask, [[0, 0], [0, 1]], constant_values=True)[:, tf.newaxis, tf.newaxis]
        weights = tf.nn.softmax(tf.where(attends, scores, scores.dtype.min))
        length = tf.shape(history)[1]
        values = [by_head(self._value(part), self.num_heads) for part in (history, candidate)]
        pooled = tf.matmul(weights[..., :length], values[0])
        pooled += tf.matmul(weights[..., length:], values[1])
        return self._heads_out(side_by_side(pooled))


def for_every_candidate(history: tf.Tensor, candidate: tf.Tensor) -> tf.Tensor:
    """Repeats a history of batch 1: [n or 1, length, width], [n, ...] -> [n, length, width]."""
    shape = [tf.shape(candidate)[0], tf.shape(history)[1], history.shape[-1]]
    return tf.broadcast_to(history, shape)


OUTPUTS = ("candidate", "all")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class HistoryTransformer(ConfiguredLayer):
    """Transformer blocks over the history and, after it, the candidate.

    token_j = W_s step_j + position_{d(j)},   token of the candidate = W_c candidate + b_c
    F = block_B(... block_1([tokens of the history, token of the candidate]))

    d(j) is the number of interactions after step j: 0 is the newest. Positions are learned and are
    counted over real steps only, so that padding anywhere moves none. The published model (BST,
    arXiv 1905.06874, section 2.1) embeds the time since step j, joins it to the item's vector and
    projects both; a projection of joined vectors is the sum of two projections, which is what is
    computed here, with the rank of a step in place of its time.

    What is handed on: `outputs="candidate"`, the candidate's own output, which has attended to all
    steps; the last block then answers for the candidate only, and the cost grows with the length in
    place of its square. `outputs="all"`, the published form: the outputs of all positions side by
    side, steps at their distance (zeros where the history is shorter; older steps than
    `num_positions` are attended to but not laid out), and the candidate last.

    Shapes: candidate [n, candidate width], history [n or 1, length, step width], mask
    [n or 1, length] -> [n, units], or with "all" [n, (num_positions + 1) * units].

    Attributes:
      units: width of a token.
      num_blocks: blocks on top of each other; the paper found 1 best.
      num_heads: attention heads of a block; must divide `units`.
      feed_forward_units: hidden width of a block's feed-forward network.
      num_positions: distances with a position of their own; older steps share the last.
      outputs: "candidate" or "all".
      dropout_rate: dropout of the tokens and inside the blocks, in training only.
    """

    def __init__(
        self,
        units: int = 64,
        num_blocks: int = 1,
        num_heads: int = 4,
        feed_forward_units: int = 128,
        num_positions: int = 30,
        outputs: str = "candidate",
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Creates the blocks.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(**kwargs)
        one_of(OUTPUTS, outputs=outputs)
        positive_count(
            units=units,
            num_blocks=num_blocks,
            feed_forward_units=feed_forward_units,
            num_positions=num_positions,
        )
        dividing_heads(num_heads, units=units)
        self.units = units
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.feed_forward_units = feed_forward_units
        self.num_positions = num_positions
        self.outputs = outputs
        self.dropout_rate = dropout_rate
        self._steps = tf.keras.layers.Dense(units, use_bias=False)
        self._candidate = tf.keras.layers.Dense(units)
        self._dropout = tf.keras.layers.Dropout(dropout_rate)
        self._blocks = [
            TransformerBlock(
                num_heads,
                feed_forward_units,
                dropout_rate,
                candidate_only=outputs == "candidate" and index == num_blocks - 1,
            )
            for index in range(num_blocks)
        ]

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the positions."""
        self._positions = self.add_weight(
            name="position_embedding",
            shape=(self.num_positions, self.units),
            initializer=tf.keras.initializers.RandomNormal(stddev=0.05),
        )
        super().build(input_shape)

    def call(
        self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor], training: bool | None = None
    ) -> tf.Tensor:
        """Reads histories for their candidates.

        Args:
          inputs: candidate [n, candidate width], history [n or 1, length, step width], newest last,
            mask bool [n or 1, length].
          training: whether dropout is active.

        Returns:
          [n, units], or [n, (num_positions + 1) * units] with "all".
        """
        candidate, steps, mask = inputs
        steps = without_padding(steps, mask)
        distance = steps_after(mask)
        positions = tf.gather(self._positions, tf.minimum(distance, self.num_positions - 1))
        history = self._dropout(self._steps(steps) + positions, training=training)
        candidate = self._dropout(self._candidate(candidate), training=training)
        for block in self._blocks:
            outputs = block((candidate, history, mask), training=training)
            history, candidate = outputs[:, :-1], outputs[:, -1]
        if self.outputs == "candidate":
            return candidate
        by_distance = tf.one_hot(distance, self.num_positions, dtype=history.dtype)
        by_distance *= tf.cast(mask, history.dtype)[:, :, tf.newaxis]
        laid_out = tf.matmul(by_distance, history, transpose_a=True)
        laid_out = tf.reshape(laid_out, [-1, self.num_positions * self.units])
        return tf.concat([laid_out, candidate], axis=1)


def steps_after(mask: tf.Tensor) -> tf.Tensor:
    """Number of real steps after each step: bool [m, length] -> int32 [m, length]."""
    return tf.cumsum(tf.cast(mask, tf.int32), axis=1, reverse=True, exclusive=True)
