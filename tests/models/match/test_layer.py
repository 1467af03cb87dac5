from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.match import MATCH_KINDS, KnowledgeMatch
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
        layer, input_signature=[tf.TensorSpec([None] * rank, tf.int32), *specifications]
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

    found = gradients_of(
        lambda: tf.reduce_sum(layer(candidates, **history)), layer.trainable_weights
    )
    assert len(found) == (1 if layer.kind == "means" else 3)
    for weight, gradient in zip(layer.trainable_weights, found, strict=True):
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
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        features = matcher(**variant)(candidates, **history)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
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
