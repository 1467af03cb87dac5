from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layers.sequence import (
    GRU_KINDS,
    AttentionGRU,
    HistoryTransformer,
    TransformerBlock,
    for_every_candidate,
    next_step_loss,
    steps_after,
)
from tests.models.builders import named_weights, sigmoid
from tests.models.layers.contract import built
from tests.models.numpy_layers import numpy_block, numpy_transformer

GRU_COUNT, GRU_LENGTH, GRU_WIDTH, GRU_UNITS = 4, 5, 3, 2
# Padding in front, behind, between and everywhere.
GRU_MASK = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
GruInputs = tuple[np.ndarray, ...]


def gru_inputs(kind: str, users: int = GRU_COUNT) -> GruInputs:
    random = np.random.default_rng(0)
    steps = random.normal(size=[GRU_COUNT, GRU_LENGTH, GRU_WIDTH]).astype(np.float32)[:users]
    weights = random.uniform(size=[GRU_COUNT, GRU_LENGTH]).astype(np.float32)
    return (steps, GRU_MASK[:users], *([] if kind == "gru" else [weights]))


def gru(kind: str, **options: Any) -> AttentionGRU:
    return built(AttentionGRU(GRU_UNITS, kind, **options), gru_inputs(kind))


def numpy_states(
    layer: AttentionGRU, steps: np.ndarray, mask: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """The equations of the paper, one history and step at a time: [length, units]."""
    parts = named_weights(layer)
    names = ("r", "g") if layer.kind == "agru" else ("r", "g", "u")
    slices = {name: slice(i * GRU_UNITS, (i + 1) * GRU_UNITS) for i, name in enumerate(names)}
    input_matrix = {name: parts["kernel"][:, part] for name, part in slices.items()}
    state_matrix = {name: parts["recurrent_kernel"][:, part] for name, part in slices.items()}
    bias = {name: parts["bias"][part] for name, part in slices.items()}
    state, states = np.zeros(GRU_UNITS), []
    for step, real, weight in zip(steps, mask, weights, strict=True):
        if real:
            seen = weight * step if layer.kind == "aigru" else step
            reset = sigmoid(seen @ input_matrix["r"] + state @ state_matrix["r"] + bias["r"])
            proposed = np.tanh(
                seen @ input_matrix["g"] + reset * (state @ state_matrix["g"]) + bias["g"]
            )
            if layer.kind == "agru":
                update = np.full(GRU_UNITS, weight)
            else:
                update = sigmoid(seen @ input_matrix["u"] + state @ state_matrix["u"] + bias["u"])
            if layer.kind == "augru":
                update = update * weight
            state = (1 - update) * state + update * proposed
        states.append(state)
    return np.array(states)


@pytest.mark.parametrize("kind", GRU_KINDS)
class TestAttentionGRUEveryKind:
    @pytest.mark.parametrize("users", [1, GRU_COUNT])
    def test_states_follow_the_equations(self, kind: str, users: int) -> None:
        every, last = gru(kind, return_sequences=True), gru(kind)
        arguments = gru_inputs(kind, users)
        rows = users if kind == "gru" else GRU_COUNT
        weights = arguments[2] if kind != "gru" else np.ones([rows, GRU_LENGTH])
        expected = [
            numpy_states(every, arguments[0][row % users], GRU_MASK[row % users], weights[row])
            for row in range(rows)
        ]
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(every(arguments), expected, atol=1e-5)
        np.testing.assert_allclose(last(arguments), np.array(expected)[:, -1], atol=1e-5)

    def test_what_padding_holds_changes_nothing(self, kind: str) -> None:
        layer, (steps, mask, *weights) = gru(kind), gru_inputs(kind)
        other = np.where(mask[:, :, np.newaxis], steps, 40).astype(np.float32)
        np.testing.assert_array_equal(layer((other, mask, *weights)), layer(gru_inputs(kind)))

    @pytest.mark.parametrize("return_sequences", [False, True])
    def test_a_history_of_length_0(self, kind: str, return_sequences: bool) -> None:
        layer = gru(kind, return_sequences=return_sequences)
        empty = [part[:, :0] for part in gru_inputs(kind)]
        shape = (GRU_COUNT, 0, GRU_UNITS) if return_sequences else (GRU_COUNT, GRU_UNITS)
        np.testing.assert_array_equal(layer(empty), np.zeros(shape))
        signature = [tf.TensorSpec([None, None, *part.shape[2:]], part.dtype) for part in empty]
        in_graph = tf.function(layer, input_signature=[tuple(signature)], autograph=False)
        np.testing.assert_array_equal(in_graph(tuple(empty)), np.zeros(shape))
        np.testing.assert_allclose(in_graph(gru_inputs(kind)), layer(gru_inputs(kind)), atol=1e-6)


class TestAttentionGRU:
    def test_gru_is_that_of_keras(self) -> None:
        layer, (steps, _) = gru("gru", return_sequences=True), gru_inputs("gru")
        keras = tf.keras.layers.GRU(GRU_UNITS, return_sequences=True, reset_after=True)
        keras(steps)
        parts = named_weights(layer)

        def as_keras(values: np.ndarray) -> np.ndarray:
            """Update gate first, and turned round: Keras keeps where we renew."""
            reset, proposed, update = np.split(values, 3, axis=-1)
            return np.concatenate([-update, reset, proposed], axis=-1)

        bias = as_keras(parts["bias"])
        keras.set_weights(
            [
                as_keras(parts["kernel"]),
                as_keras(parts["recurrent_kernel"]),
                np.stack([bias, np.zeros_like(bias)]),
            ]
        )
        everything = np.ones([GRU_COUNT, GRU_LENGTH], bool)
        np.testing.assert_allclose(layer((steps, everything)), keras(steps), atol=1e-6)

    def test_an_unattended_step_leaves_agru_and_augru_unmoved(self) -> None:
        steps, mask, weights = gru_inputs("augru")
        for kind in ("agru", "augru"):
            layer = gru(kind)
            np.testing.assert_array_equal(
                layer((steps, mask, 0 * weights)), np.zeros([GRU_COUNT, GRU_UNITS])
            )

    def test_an_unknown_kind_is_refused(self) -> None:
        with pytest.raises(ValueError, match="one of .*Received: kind='lstm'"):
            AttentionGRU(GRU_UNITS, "lstm")


TRANSFORMER_COUNT, TRANSFORMER_LENGTH = 4, 5
TRANSFORMER_WIDTH, STEP_WIDTH, TRANSFORMER_UNITS = 3, 7, 6
FORMS: list[dict[str, Any]] = [
    {},
    {"num_blocks": 2},
    {"outputs": "all"},
    {"outputs": "all", "num_blocks": 2, "num_positions": 3},
    {"num_positions": 2},
]
TransformerInputs = tuple[np.ndarray, np.ndarray, np.ndarray]


def transformer_inputs(users: int = TRANSFORMER_COUNT) -> TransformerInputs:
    """Histories of 5, 3, 1 and 0 real steps, padded in front."""
    random = np.random.default_rng(0)
    return (
        random.normal(size=[TRANSFORMER_COUNT, TRANSFORMER_WIDTH]).astype(np.float32),
        random.normal(size=[users, TRANSFORMER_LENGTH, STEP_WIDTH]).astype(np.float32),
        np.arange(TRANSFORMER_LENGTH) >= np.array([[0], [2], [4], [5]])[:users],
    )


def transformer(**options: Any) -> HistoryTransformer:
    defaults = {
        "units": TRANSFORMER_UNITS,
        "num_heads": 2,
        "feed_forward_units": 8,
        "num_positions": 5,
    }
    return HistoryTransformer(**(defaults | options))


@pytest.mark.parametrize("form", FORMS, ids=str)
class TestHistoryTransformerEveryForm:
    @pytest.mark.parametrize("users", [1, TRANSFORMER_COUNT])
    def test_outputs_follow_the_formula(self, form: dict[str, Any], users: int) -> None:
        layer = built(transformer(**form), transformer_inputs())
        candidates, history, mask = transformer_inputs(users)
        expected = [
            numpy_transformer(layer, candidates[row], history[row % users], mask[row % users])
            for row in range(TRANSFORMER_COUNT)
        ]
        outputs = layer((candidates, history, mask))
        np.testing.assert_allclose(outputs, expected, atol=2e-5)
        assert np.ptp(expected) > 0.1

    def test_padding_anywhere_changes_nothing(self, form: dict[str, Any]) -> None:
        layer, (candidates, history, mask) = (
            built(transformer(**form), transformer_inputs()),
            transformer_inputs(),
        )
        holes = [0, 0, 2, 3, 5, 5]
        padded = np.insert(history, holes, 50, axis=1)
        padded_mask = np.insert(mask, holes, False, axis=1)
        np.testing.assert_allclose(
            layer((candidates, padded, padded_mask)),
            layer((candidates, history, mask)),
            atol=1e-5,
        )

    def test_one_user_equals_repeated_users(self, form: dict[str, Any]) -> None:
        layer = built(transformer(**form), transformer_inputs())
        candidates, history, mask = transformer_inputs(users=1)
        repeated = (
            candidates,
            np.repeat(history, TRANSFORMER_COUNT, 0),
            np.repeat(mask, TRANSFORMER_COUNT, 0),
        )
        np.testing.assert_allclose(layer((candidates, history, mask)), layer(repeated), atol=1e-5)

    def test_an_empty_history_is_finite(self, form: dict[str, Any]) -> None:
        layer, (candidates, history, mask) = (
            built(transformer(**form), transformer_inputs()),
            transformer_inputs(),
        )
        nothing = layer((candidates, history[:, :0], mask[:, :0]))
        assert np.isfinite(nothing).all()
        np.testing.assert_allclose(layer((candidates, history, mask & False)), nothing, atol=1e-6)

    def test_graph_equals_eager(self, form: dict[str, Any]) -> None:
        layer, batch = built(transformer(**form), transformer_inputs()), transformer_inputs()
        specifications = (
            tf.TensorSpec([None, TRANSFORMER_WIDTH]),
            tf.TensorSpec([None, None, STEP_WIDTH]),
            tf.TensorSpec([None, None], tf.bool),
        )
        in_graph = tf.function(layer, input_signature=[specifications], autograph=False)
        assert in_graph.get_concrete_function().output_shapes[1] == layer(batch).shape[1]
        np.testing.assert_allclose(in_graph(batch), layer(batch), atol=1e-6)


class TestHistoryTransformer:
    def test_the_order_of_the_steps_counts(self) -> None:
        layer, (candidates, history, _) = (
            built(transformer(), transformer_inputs()),
            transformer_inputs(),
        )
        everything = np.ones([TRANSFORMER_COUNT, TRANSFORMER_LENGTH], bool)
        forward = layer((candidates, history, everything))
        backward = layer((candidates, history[:, ::-1], everything))
        assert np.abs(forward - backward).max() > 0.01

    def test_steps_are_counted_from_the_newest(self) -> None:
        mask = np.array([[True, False, True, True, False], [False] * 5])
        np.testing.assert_array_equal(steps_after(mask), [[2, 2, 1, 0, 0], [0] * 5])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"outputs": "mean"}, r"one of \('candidate', 'all'\)\. Received: outputs='mean'"),
            ({"num_blocks": 0}, "Received: num_blocks=0"),
            ({"num_heads": 4}, "num_heads must divide units"),
            ({"num_positions": 0}, "Received: num_positions=0"),
        ],
    )
    def test_options_out_of_range_are_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            transformer(**options)


BLOCK_COUNT, BLOCK_LENGTH, BLOCK_WIDTH = 4, 5, 6
BlockInputs = tuple[np.ndarray, np.ndarray, np.ndarray]


def block_inputs(users: int = BLOCK_COUNT) -> BlockInputs:
    """Histories of 5, 3, 1 and 0 real steps, padded in front."""
    random = np.random.default_rng(0)
    return (
        random.normal(size=[BLOCK_COUNT, BLOCK_WIDTH]).astype(np.float32),
        random.normal(size=[users, BLOCK_LENGTH, BLOCK_WIDTH]).astype(np.float32),
        np.arange(BLOCK_LENGTH) >= np.array([[0], [2], [4], [5]])[:users],
    )


def block(**options: Any) -> TransformerBlock:
    return TransformerBlock(**({"num_heads": 2, "feed_forward_units": 7} | options))


@pytest.mark.parametrize("candidate_only", [False, True])
class TestTransformerBlockBothForms:
    def test_what_padding_holds_changes_nothing(self, candidate_only: bool) -> None:
        layer, (candidates, history, mask) = (
            built(block(candidate_only=candidate_only), block_inputs()),
            block_inputs(),
        )
        other = np.where(mask[:, :, np.newaxis], history, 40).astype(np.float32)
        seen = np.concatenate([mask, np.ones([BLOCK_COUNT, 1], bool)], axis=1)
        seen = seen[:, -1:] if candidate_only else seen
        np.testing.assert_allclose(
            layer((candidates, other, mask)).numpy()[seen],
            layer((candidates, history, mask)).numpy()[seen],
            atol=1e-6,
        )

    @pytest.mark.parametrize("length", [0, BLOCK_LENGTH])
    def test_an_empty_history_leaves_the_candidate(self, candidate_only: bool, length: int) -> None:
        layer, (candidates, history, mask) = (
            built(block(candidate_only=candidate_only), block_inputs()),
            block_inputs(),
        )
        outputs = layer((candidates, history[:, :length], mask[:, :length] & False))
        for row in range(BLOCK_COUNT):
            (expected,) = numpy_block(layer, [candidates[row]])
            np.testing.assert_allclose(outputs[row, -1], expected, atol=1e-5)

    def test_one_user_equals_repeated_users(self, candidate_only: bool) -> None:
        layer = built(block(candidate_only=candidate_only), block_inputs())
        candidates, history, mask = block_inputs(users=1)
        repeated = (candidates, np.repeat(history, BLOCK_COUNT, 0), np.repeat(mask, BLOCK_COUNT, 0))
        np.testing.assert_allclose(layer((candidates, history, mask)), layer(repeated), atol=1e-6)


class TestTransformerBlock:
    @pytest.mark.parametrize("users", [1, BLOCK_COUNT])
    @pytest.mark.parametrize("heads", [1, 2, 3])
    def test_outputs_follow_the_formula(self, users: int, heads: int) -> None:
        candidates, history, mask = block_inputs(users)
        everything = built(block(num_heads=heads), block_inputs())
        outputs = everything((candidates, history, mask)).numpy()
        assert outputs.shape == (BLOCK_COUNT, BLOCK_LENGTH + 1, BLOCK_WIDTH)
        for row in range(BLOCK_COUNT):
            real = mask[row % users]
            expected = numpy_block(everything, [*history[row % users][real], candidates[row]])
            np.testing.assert_allclose(outputs[row, [*real, True]], expected, atol=1e-5)

    @pytest.mark.parametrize("users", [1, BLOCK_COUNT])
    @pytest.mark.parametrize("heads", [1, 2])
    def test_the_candidate_alone_is_the_last_of_all(self, users: int, heads: int) -> None:
        everything = built(block(num_heads=heads), block_inputs())
        alone = block(num_heads=heads, candidate_only=True)
        alone(block_inputs())
        alone.set_weights(everything.get_weights())
        np.testing.assert_allclose(
            alone(block_inputs(users)), everything(block_inputs(users))[:, -1:], atol=1e-6
        )

    def test_dropout_acts_in_training_only(self) -> None:
        layer = built(block(dropout_rate=0.5), block_inputs())
        np.testing.assert_array_equal(layer(block_inputs()), layer(block_inputs(), training=False))
        assert np.abs(layer(block_inputs(), training=True) - layer(block_inputs())).max() > 1e-2

    @pytest.mark.parametrize("heads", [0, 4])
    def test_heads_must_divide_the_width(self, heads: int) -> None:
        with pytest.raises(ValueError, match=f"^num_heads must .*num_heads={heads}"):
            block(num_heads=heads)(block_inputs())

    @pytest.mark.parametrize("users", [1, 2])
    def test_a_shared_history_is_repeated(self, users: int) -> None:
        history = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])[:users]
        repeated = for_every_candidate(history, np.zeros([2, 1, 1]))
        np.testing.assert_array_equal(repeated, history if users == 2 else [[[1], [2]], [[1], [2]]])


NEXT_STEP_LENGTH, NEXT_STEP_WIDTH = 4, 3
NEXT_STEP_MASK = np.array([[0, 1, 1, 1], [1, 1, 0, 1], [0, 0, 0, 1]], bool)
NEGATIVES = np.array([[5, 4, 8, 11], [0, 1, 6, 2], [3, 7, 9, 10]])


def sample(seed: int) -> np.ndarray:
    return (
        np.random.default_rng(seed)
        .normal(size=[3, NEXT_STEP_LENGTH, NEXT_STEP_WIDTH])
        .astype(np.float32)
    )


class TestNextStepLoss:
    def test_loss_follows_the_formula(self) -> None:
        states, items = sample(0), sample(1)
        right, wrong = [], []
        for row in range(3):
            for step in range(NEXT_STEP_LENGTH - 1):
                if not (NEXT_STEP_MASK[row, step] and NEXT_STEP_MASK[row, step + 1]):
                    continue
                right.append(np.log(sigmoid(states[row, step] @ items[row, step + 1])))
                other_row, other_step = divmod(NEGATIVES[row, step + 1], NEXT_STEP_LENGTH)
                if NEXT_STEP_MASK[other_row, other_step]:
                    product = states[row, step] @ items[other_row, other_step]
                    wrong.append(np.log(1 - sigmoid(product)))
        assert (len(right), len(wrong)) == (3, 2)
        loss = next_step_loss(*map(tf.constant, (states, items, NEXT_STEP_MASK, NEGATIVES)))
        assert loss.dtype == tf.float32
        np.testing.assert_allclose(loss, -np.mean(right) - np.mean(wrong), rtol=1e-5)

    def test_single_steps_have_nothing_to_predict(self) -> None:
        alone = np.eye(3, NEXT_STEP_LENGTH, dtype=bool)
        loss = next_step_loss(*map(tf.constant, (sample(0), sample(1), alone, NEGATIVES)))
        np.testing.assert_array_equal(loss, 0)

    def test_an_empty_history_has_no_loss(self) -> None:
        states = tf.zeros([2, 0, NEXT_STEP_WIDTH])
        loss = next_step_loss(states, states, tf.zeros([2, 0], tf.bool), tf.zeros([2, 0], tf.int32))
        np.testing.assert_array_equal(loss, 0)

    def test_states_that_foresee_the_next_item_have_a_small_loss(self) -> None:
        items = 9 * np.eye(4, dtype=np.float32)[np.newaxis]
        foreseeing = np.roll(items, -1, axis=1) - np.roll(items, -2, axis=1)
        negatives = np.array([[1, 2, 3, 0]])
        everything = np.ones([1, 4], bool)
        loss = next_step_loss(*map(tf.constant, (foreseeing, items, everything, negatives)))
        blind = next_step_loss(*map(tf.constant, (0 * items, items, everything, negatives)))
        assert loss < 0.01
        np.testing.assert_allclose(blind, 2 * np.log(2), rtol=1e-5)
