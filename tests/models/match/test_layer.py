from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs.model import Match
from models.layer_support import precision
from models.match import MATCH_KINDS, KnowledgeMatch
from models.match.layer import candidates_by_user, in_chunks, means_features
from tests.models.builders import gradients_of
from tests.models.match.histories import (
    ITEMS,
    VARIANTS,
    candidate_rows,
    histories,
    item_vectors,
    matcher,
    plain_features,
    variant_name,
)

variants = pytest.mark.parametrize("variant", VARIANTS, ids=variant_name)
FOLDS = np.stack([item_vectors(seed) for seed in (7, 8)])


@variants
@pytest.mark.parametrize("count", [1, 30])
def test_features_follow_the_formula(variant: dict[str, Any], count: int) -> None:
    candidates, history = candidate_rows(count), histories(count, 7)
    layer = matcher(**variant)
    features = layer(candidates, **history)
    expected = [
        plain_features(layer.kind, candidate, *[value[row] for value in history.values()])
        for row, candidate in enumerate(candidates)
    ]
    assert features.shape == (count, layer.num_features)
    assert features.dtype == tf.float32
    np.testing.assert_allclose(features, expected, atol=1e-4)


@variants
def test_every_shape_is_the_aligned_one(variant: dict[str, Any]) -> None:
    layer, lists, history = matcher(**variant), candidate_rows(4, 5), histories(4, 7)
    repeated = {name: np.repeat(value, 5, axis=0) for name, value in history.items()}
    expected = layer(lists.reshape(-1), **repeated).numpy().reshape(4, 5, -1)
    np.testing.assert_allclose(layer(lists, **history), expected, atol=1e-5)
    one = {name: value[1:2] for name, value in history.items()}
    np.testing.assert_allclose(layer(lists[1], **one), expected[1], atol=1e-5)


@variants
@pytest.mark.parametrize(("rank", "users"), [(1, None), (1, 1), (1, 70), (2, None), (2, 70)])
def test_graphs_of_any_batch_equal_eager(
    variant: dict[str, Any], rank: int, users: int | None
) -> None:
    layer, history = matcher(**variant), histories(users or 70, 5)
    candidates = candidate_rows(*[70, 3][:rank])
    specifications = [
        tf.TensorSpec([users, None], tf.as_dtype(value.dtype)) for value in history.values()
    ]
    in_graph = tf.function(
        layer,
        input_signature=[tf.TensorSpec([None] * rank, tf.int32), *specifications],
        autograph=False,
    )
    np.testing.assert_allclose(
        in_graph(candidates, *history.values()), layer(candidates, **history), atol=1e-5
    )
    if users is None and rank == 1:
        one = {name: value[:1] for name, value in history.items()}
        np.testing.assert_allclose(
            in_graph(candidates, *one.values()), layer(candidates, **one), atol=1e-5
        )
    none = {name: value[:0] if users is None else value for name, value in history.items()}
    if users is None:
        assert in_graph(candidates[:0], *none.values()).shape[0] == 0


@variants
def test_padding_changes_nothing(variant: dict[str, Any]) -> None:
    history, garbage = histories(4, 6), histories(4, 5, seed=9)
    candidates = np.array([1, 2, 3, 0], np.int32)
    garbage["history_residuals"][:] = np.nan
    garbage["history_mask"][:] = False
    padded = {
        name: np.concatenate([garbage[name][:, :3], value, garbage[name][:, 3:]], axis=1)
        for name, value in history.items()
    }
    layer = matcher(**variant)
    np.testing.assert_allclose(layer(candidates, **padded), layer(candidates, **history), atol=1e-5)


@variants
def test_items_without_knowledge_take_no_part(variant: dict[str, Any]) -> None:
    layer, history = matcher(**variant), histories(1, 6)
    history["history_mask"][:] = True
    history["history_rows"][:] = [3, 0, 2, 4, 5, 3]
    known = {name: value[:, [0, 2, 4, 5]] for name, value in history.items()}
    candidates = np.array([2, 0, 4], np.int32)
    features = layer(candidates, **history).numpy()
    np.testing.assert_allclose(features, layer(candidates, **known), atol=1e-5)
    assert features[0].all()
    np.testing.assert_array_equal(features[1:], 0)


@variants
@pytest.mark.parametrize("length", [0, 4])
def test_an_empty_history_has_the_documented_features(variant: dict[str, Any], length: int) -> None:
    layer, history = matcher(**variant), histories(2, length)
    history["history_mask"][:] = False
    expected = np.zeros([2, layer.num_features])
    if layer.kind == "ridge":
        expected[0, 1] = np.sqrt(1.3)
    np.testing.assert_allclose(layer(np.array([1, 0]), **history), expected, atol=1e-5)


def gradients(layer: KnowledgeMatch, history: dict[str, np.ndarray]) -> list[Any]:
    candidates = np.resize(np.arange(ITEMS + 1), len(history["history_rows"]))
    projection = np.arange(1, layer.num_features + 1)
    return gradients_of(
        lambda: tf.reduce_sum(layer(candidates, **history) * projection),
        layer.trainable_weights,
    )


LEARNED = [variant for variant in VARIANTS if variant["learned"]]


@pytest.mark.parametrize("variant", LEARNED, ids=variant_name)
def test_gradients_are_those_of_finite_differences(variant: dict[str, Any]) -> None:
    layer, history = matcher(**variant, dimension=5), histories(9, 6)
    candidates = np.arange(1, 10)

    def total() -> float:
        return float(tf.reduce_sum(tf.cast(layer(candidates, **history), tf.float64)))

    actual = gradients_of(
        lambda: tf.reduce_sum(layer(candidates, **history)), layer.trainable_weights
    )
    assert len(actual) == (1 if layer.kind == "means" else 3)
    for weight, gradient in zip(layer.trainable_weights, actual, strict=True):
        initial, step = weight.numpy(), 0.02
        for place in np.ndindex(initial.shape):
            shift = np.zeros_like(initial)
            shift[place] = step
            weight.assign(initial + shift)
            above = total()
            weight.assign(initial - shift)
            below = total()
            weight.assign(initial)
            assert gradient[place] == pytest.approx((above - below) / 2 / step, rel=0.02, abs=0.01)


@pytest.mark.parametrize("variant", LEARNED, ids=variant_name)
@pytest.mark.parametrize("case", ["empty", "length 0", "one item", "unknown", "batch of 1"])
def test_gradients_are_finite(variant: dict[str, Any], case: str) -> None:
    history = histories(1 if case == "batch of 1" else 8, 0 if case == "length 0" else 6)
    if case == "empty":
        history["history_mask"][:] = False
    elif case == "one item":
        history["history_rows"][:] = 2
    elif case == "unknown":
        history["history_rows"][:] = 0
    for gradient in gradients(matcher(**variant), history):
        assert np.isfinite(gradient).all()


@variants
@pytest.mark.parametrize("value", [0.0, 0.1, 3.0])
def test_equal_knowledge_vectors_stay_finite(variant: dict[str, Any], value: float) -> None:
    layer = matcher(**variant, vectors=np.full([ITEMS, 4], value, np.float32))
    history = histories(8, 7)
    assert np.isfinite(layer(np.arange(8), **history)).all()
    if layer.is_learned:
        for gradient in gradients(layer, history):
            assert gradient is None or np.isfinite(gradient).all()


@variants
@pytest.mark.parametrize("extreme", [1e-3, 1e3])
def test_learned_parameters_at_their_bounds_stay_finite(
    variant: dict[str, Any], extreme: float
) -> None:
    layer, history = matcher(**variant), histories(3, 200)
    history["history_rows"][0] = 2
    for weight in layer.trainable_weights:
        weight.assign(tf.fill(weight.shape, np.float32(np.log(extreme))))
    assert np.isfinite(layer(np.array([1, 2, 3]), **history)).all()


def test_an_optimizer_cannot_leave_the_bounds() -> None:
    layer, history = matcher("ridge", learned=True), histories(3, 5)
    optimizer = tf.keras.optimizers.SGD(1e6)
    optimizer.apply_gradients(
        zip(map(tf.constant, gradients(layer, history)), layer.trainable_weights, strict=True)
    )
    for weight in layer.trainable_weights:
        assert abs(float(weight)) <= np.log(1000) + 1e-4


@variants
def test_mixed_precision_computes_in_float32(variant: dict[str, Any]) -> None:
    history, candidates = histories(3, 6), np.array([1, 2, 3])
    expected = matcher(**variant)(candidates, **history)
    with precision("mixed_bfloat16"):
        features = matcher(**variant)(candidates, **history)
    assert features.dtype == tf.float32
    np.testing.assert_array_equal(features, expected)


@variants
def test_only_learned_parameters_are_trained(variant: dict[str, Any]) -> None:
    layer = matcher(**variant, folds=FOLDS)
    expected = {"log_length_scale:0"} | (
        {"log_bias:0", "log_noise:0"} if layer.kind == "ridge" else set()
    )
    names = {weight.name for weight in layer.trainable_weights}
    assert names == (expected if layer.is_learned else set())


@pytest.mark.parametrize("kind", MATCH_KINDS)
def test_a_ready_table_is_compared_as_it_is(kind: str) -> None:
    table = np.array([[0, 0], [0.6, 0.8], [0, 0], [1, 0]], np.float32)
    history = {
        "history_rows": np.array([[3, 2]]),
        "history_residuals": np.array([[2.0, 50.0]], np.float32),
        "history_liked": np.ones([1, 2], np.float32),
        "history_mask": np.array([[True, True]]),
    }
    features = KnowledgeMatch(kind, table)(np.array([1, 2]), **history)
    # Ridge: A = diag(2, 1), c = (2, 0).
    expected: list[float] = (
        [2, 2, 0.6, 0, 0.6, 0] if kind == "means" else [0.6, np.sqrt(0.18 + 0.64)]
    )
    np.testing.assert_allclose(features, [expected, [0.0] * len(expected)], atol=1e-6)
    with pytest.raises(ValueError, match="over a ready table"):
        KnowledgeMatch(kind, table).reduce(np.ones([1, 2]))


def test_a_stored_match_has_no_reduction() -> None:
    layer = matcher("ridge")
    layer.store("knowledge/item/match", tf.float32)
    with pytest.raises(ValueError, match="ask for it before store"):
        _ = layer.reduction
    with pytest.raises(ValueError, match="ask for it before store"):
        layer.reduce(np.ones([1, 2]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "means"}, "give the item tables, or sizes"),
        ({"kind": "ridge", "tables": np.eye(3), "learned": True}, "KnowledgeMatch.from_vectors"),
        ({"kind": "nearest", "tables": np.eye(3)}, "one of .*Received: kind='nearest'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KnowledgeMatch(**arguments)


class TestTables:
    @variants
    def test_training_samples_read_the_tables_of_their_folds(self, variant: dict[str, Any]) -> None:
        layer, candidates, history = (
            matcher(**variant, folds=FOLDS),
            candidate_rows(6),
            histories(6, 7),
        )
        folds = np.array([0, 1, 1, 0, 1, 0], np.int32)
        features = layer(candidates, **history, folds=folds).numpy()
        for fold, vectors in enumerate(FOLDS):
            rows = folds == fold
            own = {name: value[rows] for name, value in history.items()}
            expected = matcher(**variant, vectors=vectors)(candidates[rows], **own)
            # Fold tables are float16.
            np.testing.assert_allclose(features[rows], expected, atol=5e-3)
        everything = matcher(**variant)(candidates, **history)
        np.testing.assert_allclose(layer(candidates, **history), everything, atol=1e-5)
        assert np.abs(features - everything).max() > 0.1

    @variants
    def test_items_without_a_vector_in_a_fold_are_missing_there(
        self, variant: dict[str, Any]
    ) -> None:
        folds = FOLDS.copy()
        folds[1, 4] = 0
        layer = matcher(**variant, folds=folds)
        history = histories(2, 3)
        history["history_mask"][:] = True
        history["history_rows"][:] = [5, 2, 5]
        without = {name: value[:, 1:2] for name, value in history.items()}
        second = np.array([1, 1])
        np.testing.assert_allclose(
            layer(np.array([3, 5]), **history, folds=second),
            layer(np.array([3, 5]), **without, folds=second),
            atol=1e-6,
        )
        assert not layer(np.array([3, 5]), **history, folds=second)[1].numpy().any()
        assert layer(np.array([3, 5]), **history, folds=1 - second)[1].numpy().any()

    @pytest.mark.parametrize("variant", LEARNED, ids=variant_name)
    def test_gradients_reach_the_parameters_through_fold_tables(
        self, variant: dict[str, Any]
    ) -> None:
        layer, history = matcher(**variant, folds=FOLDS), histories(6, 7)
        folds = np.array([0, 1, 1, 0, 1, 0])
        for gradient in gradients_of(
            lambda: tf.reduce_sum(layer(np.arange(1, 7), **history, folds=folds)),
            layer.trainable_weights,
        ):
            assert np.isfinite(gradient).all()
            assert np.all(gradient != 0)

    @variants
    def test_an_export_drops_the_fold_tables_and_nothing_else(
        self, variant: dict[str, Any]
    ) -> None:
        layer, candidates, history = (
            matcher(**variant, folds=FOLDS),
            candidate_rows(4),
            histories(4, 5),
        )
        for weight in layer.trainable_weights:
            weight.assign_add(tf.fill(weight.shape, 0.3))
        expected = layer(candidates, **history)
        assert layer.has_folds
        layer.store("knowledge/item/match", tf.float32)
        assert not layer.has_folds
        names = {variable.name for variable in layer.variables}
        assert not {name for name in names if "fold" in name or "basis" in name}
        assert {"knowledge/item/match/table:0", "knowledge/item/match/slots:0"} <= names
        np.testing.assert_array_equal(layer(candidates, **history), expected)

    @variants
    def test_new_items_are_reduced_as_the_table_was(self, variant: dict[str, Any]) -> None:
        layer = matcher(**variant, dimension=4)
        extended = KnowledgeMatch.from_vectors(
            layer.kind,
            item_vectors(),
            Match(dimension=4, **{k: v for k, v in variant.items() if k != "kind"}),
        )
        (table,) = (weight for weight in extended.weights if weight.name == "table:0")
        np.testing.assert_allclose(layer.reduce(item_vectors()), table[1:], atol=1e-6)
        assert not layer.reduce(np.zeros([1, 6])).any()

    @variants
    def test_new_items_fit_a_table_that_its_folds_made_wider(self, variant: dict[str, Any]) -> None:
        few = item_vectors()[[0, 1, 2, 3] * 3]
        layer = matcher(**variant, vectors=few, folds=FOLDS)
        (table,) = (weight for weight in layer.weights if weight.name == "table:0")
        np.testing.assert_allclose(layer.reduce(few), table[1:], atol=1e-6)
        history, candidates = histories(5, 6), np.arange(1, 6)
        expected = matcher(**variant, vectors=few)(candidates, **history)
        np.testing.assert_allclose(layer(candidates, **history), expected, atol=1e-4)

    @variants
    def test_the_configuration_and_weights_make_the_layer_again(
        self, variant: dict[str, Any], tmp_path: Path
    ) -> None:
        layer, history = matcher(**variant, folds=FOLDS), histories(3, 4)
        candidates, folds = np.array([1, 2, 3], np.int32), np.array([0, 1, 1], np.int32)
        for weight in layer.trainable_weights:
            weight.assign_add(tf.fill(weight.shape, 0.3))
        expected = layer(candidates, **history, folds=folds)
        again = KnowledgeMatch.from_config(layer.get_config())
        again.set_weights(layer.get_weights())
        np.testing.assert_array_equal(again(candidates, **history, folds=folds), expected)
        restored = KnowledgeMatch.from_config(layer.get_config())
        path = tf.train.Checkpoint(match=layer).write(str(tmp_path / "checkpoint"))
        tf.train.Checkpoint(match=restored).read(path).assert_consumed()
        np.testing.assert_array_equal(restored(candidates, **history, folds=folds), expected)

    @pytest.mark.parametrize("suffix", [".keras", ""])
    def test_a_functional_model_saves_and_reloads_it(self, suffix: str, tmp_path: Path) -> None:
        layer, history = matcher("ridge", learned=True), histories(3, 4)
        inputs = [
            tf.keras.Input([], dtype=tf.int32),
            *(tf.keras.Input([4], dtype=tf.as_dtype(value.dtype)) for value in history.values()),
        ]
        model = tf.keras.Model(inputs, layer(*inputs))
        arguments = [np.array([1, 2, 3], np.int32), *history.values()]
        model.save(tmp_path / f"model{suffix}")
        again = tf.keras.models.load_model(tmp_path / f"model{suffix}")
        np.testing.assert_allclose(again(arguments), model(arguments), atol=1e-6)


class TestCandidatesByUser:
    @pytest.mark.parametrize(
        ("candidates", "users", "expected"),
        [
            ([1, 2, 3], 3, [[1], [2], [3]]),
            ([1, 2, 3], 1, [[1, 2, 3]]),
            ([1], 1, [[1]]),
            ([[1, 2], [3, 4], [5, 6]], 3, [[1, 2], [3, 4], [5, 6]]),
        ],
    )
    def test_candidates_are_laid_out_by_user(
        self, candidates: list[Any], users: int, expected: list[list[int]]
    ) -> None:
        rows, history = tf.constant(candidates), tf.zeros([users, 5])
        np.testing.assert_array_equal(candidates_by_user(rows, history), expected)
        unknown = tf.function(
            candidates_by_user,
            input_signature=[
                tf.TensorSpec([None] * rows.shape.rank, rows.dtype),
                tf.TensorSpec([None, 5]),
            ],
            autograph=False,
        )
        np.testing.assert_array_equal(unknown(rows, history), expected)

    def test_other_numbers_of_histories_are_refused(self) -> None:
        rows, history = tf.range(6), tf.zeros([3, 5])
        with pytest.raises(ValueError, match="6 candidates need as many .*Received: 3 histories"):
            candidates_by_user(rows, history)
        unknown = tf.function(
            candidates_by_user,
            input_signature=[tf.TensorSpec([None], rows.dtype), tf.TensorSpec([None, 5])],
            autograph=False,
        )
        with pytest.raises(tf.errors.InvalidArgumentError):
            unknown(rows, history)


class TestChunks:
    @pytest.mark.parametrize("known", [True, False])
    @pytest.mark.parametrize("length", [0, 1, 4, 5, 11])
    def test_chunks_equal_the_whole(self, known: bool, length: int) -> None:
        left = np.arange(length * 6, dtype=np.float32).reshape(length, 3, 2)
        right = np.arange(length, dtype=np.float32)
        seen = []

        def function(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
            seen.append(left.shape[0])
            return left * right[:, tf.newaxis, tf.newaxis]

        size = length if known else None
        specifications = [tf.TensorSpec([size, None, 2]), tf.TensorSpec([size])]
        in_graph = tf.function(
            lambda *tensors: in_chunks(function, tensors, 4),
            input_signature=specifications,
            autograph=False,
        )
        expected = left * right[:, None, None]
        np.testing.assert_array_equal(in_graph(left, right), expected)
        assert set(seen) == ({length} if known and length <= 4 else {None})
        np.testing.assert_array_equal(in_chunks(function, (left, right), 4), expected)
        assert all(rows is None or rows <= 4 for rows in seen)


SCALES = tf.constant([0.1, 0.25])


class TestMeansFeatures:
    def test_features_by_hand(self) -> None:
        candidates = np.array([[[1, 0], [0.6, 0.8]]], np.float32)
        history = np.array([[[1, 0], [0, 1], [0, 0]]], np.float32)
        residuals = np.array([[1.0, -1.0, 0.0]], np.float32)
        liked = np.array([[1.0, 0.0, 1.0]], np.float32)
        mask = np.array([[1.0, 1.0, 0.0]], np.float32)
        features = means_features(candidates, history, residuals, liked, mask, SCALES)
        # With cosines x and y to the two items the mean is tanh((x - y) / 2 l).
        first = [np.tanh(5), np.tanh(2), 1, 0, 1, 0]
        second = [np.tanh(-1), np.tanh(-0.4), 0.6, 0.8, 0.6, 0.8]
        np.testing.assert_allclose(features, [[first, second]], atol=1e-6)

    def test_far_histories_keep_their_weights(self) -> None:
        candidates = np.array([[[1.0]]], np.float32)
        history = np.array([[[-1.0], [-1.0]]], np.float32)
        residuals, ones = np.array([[1.0, 2.0]], np.float32), np.ones([1, 2], np.float32)
        features = means_features(
            candidates, history, residuals, ones, ones, tf.constant([1e-3, 1e-2])
        )
        np.testing.assert_allclose(features[0, 0], [1.5, 1.5, -1, 0, -1, 0], atol=1e-6)

    def test_opposite_vectors_have_no_direction(self) -> None:
        candidates = np.array([[[1, 0], [0, 1]]], np.float32)
        history = np.array([[[1, 0], [-1, 0]]], np.float32)
        ones = np.ones([1, 2], np.float32)
        features = means_features(candidates, history, ones, ones, ones, SCALES)
        np.testing.assert_allclose(features[0, :, 2:], [[0, 0, 1, 0], [0, 0, 0, 0]], atol=1e-6)
