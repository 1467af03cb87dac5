from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.kernel_ridge import KernelRidge

from models.match import MATCH_KINDS, KnowledgeMatch, match_table

ROWS, WIDTH = 9, 5
History = dict[str, np.ndarray]


def item_table(kind: str) -> np.ndarray:
    """Row 0 of zeros, then random rows: of length 1 for means, of any length for ridge."""
    table = np.random.default_rng(0).normal(size=[ROWS, WIDTH])
    if kind == "means":
        table /= np.sqrt((table**2).sum(axis=1, keepdims=True))
    table[0] = 0
    return table.astype(np.float32)


def matcher(kind: str) -> KnowledgeMatch:
    return KnowledgeMatch(kind, item_table(kind))


def histories(users: int, length: int, seed: int = 1) -> History:
    """Random histories with padding, repeated items and items without knowledge."""
    random = np.random.default_rng(seed)
    return {
        "history_rows": random.integers(0, ROWS, size=[users, length]).astype(np.int32),
        "history_residuals": random.normal(size=[users, length]).astype(np.float32),
        "history_liked": random.integers(0, 2, size=[users, length]).astype(np.float32),
        "history_mask": random.uniform(size=[users, length]) < 0.8,
    }


def repeated(history: History, count: int) -> History:
    return {name: np.repeat(value, count, axis=0) for name, value in history.items()}


def plain_means(
    candidate: int, rows: np.ndarray, residuals: np.ndarray, liked: np.ndarray, mask: np.ndarray
) -> list[float]:
    table = item_table("means").astype(np.float64)
    if candidate == 0:
        return [0.0] * 6
    steps = [step for step in range(len(rows)) if mask[step] and rows[step] > 0]
    cosines = {step: float(table[candidate] @ table[rows[step]]) for step in steps}
    features = []
    for length_scale in (0.1, 0.25):
        weights = {step: np.exp((cosines[step] - 1) / length_scale) for step in steps}
        total = sum(weights.values())
        weighted = sum(weights[step] * residuals[step] for step in steps)
        features.append(weighted / total if steps else 0.0)
    sides = [[step for step in steps if bool(liked[step]) is side] for side in (True, False)]
    for side in sides:
        direction = sum((table[rows[step]] for step in side), np.zeros(WIDTH))
        length = np.sqrt(direction @ direction)
        features.append(table[candidate] @ direction / length if side else 0.0)
    features += [max((cosines[step] for step in side), default=0.0) for side in sides]
    return features


def plain_ridge(
    candidate: int, rows: np.ndarray, residuals: np.ndarray, _liked: np.ndarray, mask: np.ndarray
) -> list[float]:
    """The textbook form over the history's kernel matrix; the layer solves in feature space."""
    table = item_table("ridge").astype(np.float64)
    if candidate == 0:
        return [0.0, 0.0]
    real = mask & (rows > 0)
    history, targets = table[rows[real]], residuals[real]
    kernel, to_candidate = history @ history.T, history @ table[candidate]
    solved = np.linalg.solve(
        kernel + np.eye(len(kernel)), np.stack([targets, to_candidate], axis=1)
    )
    variance = table[candidate] @ table[candidate] - to_candidate @ solved[:, 1]
    return [to_candidate @ solved[:, 0], np.sqrt(variance)]


PLAIN = {"means": plain_means, "ridge": plain_ridge}


@pytest.mark.parametrize("kind", MATCH_KINDS)
@pytest.mark.parametrize("count", [1, 30])
def test_features_follow_the_formula(kind: str, count: int) -> None:
    candidates = np.random.default_rng(2).integers(0, ROWS, size=count).astype(np.int32)
    history = histories(count, 7)
    features = matcher(kind)(candidates, **history)
    expected = [
        PLAIN[kind](candidate, *[value[row] for value in history.values()])
        for row, candidate in enumerate(candidates)
    ]
    assert features.shape == (count, matcher(kind).num_features)
    assert features.dtype == tf.float32
    np.testing.assert_allclose(features, expected, atol=2e-5)


def test_ridge_mean_is_that_of_sklearn() -> None:
    table, history = item_table("ridge"), histories(1, 12)
    history["history_mask"][:] = True
    rows, residuals = history["history_rows"][0], history["history_residuals"][0]
    known = rows > 0
    kernel = table @ table.T
    model = KernelRidge(alpha=1, kernel="precomputed")
    model.fit(kernel[np.ix_(rows[known], rows[known])], residuals[known])
    candidates = np.arange(1, ROWS)
    features = matcher("ridge")(candidates, **history)
    np.testing.assert_allclose(
        features[:, 0], model.predict(kernel[np.ix_(candidates, rows[known])]), atol=2e-5
    )


@pytest.mark.parametrize("kind", MATCH_KINDS)
def test_padding_changes_nothing(kind: str) -> None:
    history = histories(4, 6)
    candidates = np.array([1, 2, 3, 0], np.int32)
    garbage = histories(4, 5, seed=9)
    garbage["history_residuals"] *= 1000
    garbage["history_mask"][:] = False
    padded = {
        name: np.concatenate([garbage[name][:, :3], value, garbage[name][:, 3:]], axis=1)
        for name, value in history.items()
    }
    layer = matcher(kind)
    np.testing.assert_allclose(layer(candidates, **padded), layer(candidates, **history), atol=1e-5)


@pytest.mark.parametrize("kind", MATCH_KINDS)
def test_items_without_knowledge_take_no_part(kind: str) -> None:
    layer, history = matcher(kind), histories(1, 6)
    history["history_mask"][:] = True
    history["history_rows"][:] = [3, 0, 4, 0, 5, 3]
    known = {name: value[:, [0, 2, 4, 5]] for name, value in history.items()}
    candidates = np.array([2, 0], np.int32)
    features = layer(candidates, **history).numpy()
    np.testing.assert_allclose(features, layer(candidates, **known), atol=1e-5)
    assert features[0].all()
    np.testing.assert_array_equal(features[1], 0)


@pytest.mark.parametrize("length", [0, 4])
def test_an_empty_history_has_the_documented_features(length: int) -> None:
    history = histories(2, length)
    history["history_mask"][:] = False
    candidates = np.array([1, 0], np.int32)
    np.testing.assert_array_equal(matcher("means")(candidates, **history), np.zeros([2, 6]))
    prior = np.linalg.norm(item_table("ridge")[1])
    expected = np.array([[0, prior], [0, 0]])
    np.testing.assert_allclose(matcher("ridge")(candidates, **history), expected, atol=1e-5)


def test_repeating_an_interaction_makes_ridge_surer() -> None:
    history = histories(1, 1)
    history["history_mask"][:] = True
    history["history_rows"][:] = 2
    history["history_residuals"][:] = 1.0
    candidate = np.array([2], np.int32)
    once = matcher("ridge")(candidate, **history)[0]
    many = matcher("ridge")(
        candidate, **{name: np.repeat(value, 50, axis=1) for name, value in history.items()}
    )[0]
    assert once[0] < many[0] < 1
    assert many[1] < once[1] / 2


@pytest.mark.parametrize("kind", MATCH_KINDS)
def test_one_history_is_shared_by_all_candidates(kind: str) -> None:
    layer, history = matcher(kind), histories(1, 7)
    candidates = np.arange(ROWS, dtype=np.int32)
    expected = layer(candidates, **repeated(history, ROWS)).numpy()
    np.testing.assert_allclose(layer(candidates, **history), expected, atol=1e-5)
    for users in (1, None):
        specifications = {
            name: tf.TensorSpec([users, None], tf.as_dtype(value.dtype), name=name)
            for name, value in history.items()
        }
        in_graph = tf.function(
            layer, input_signature=[tf.TensorSpec([None], tf.int32), *specifications.values()]
        )
        np.testing.assert_allclose(in_graph(candidates, *history.values()), expected, atol=1e-5)


@pytest.mark.parametrize("kind", MATCH_KINDS)
@pytest.mark.parametrize("value", [0.0, 0.1, 3.0])
def test_equal_knowledge_vectors_stay_finite(kind: str, value: float) -> None:
    table = match_table(kind, np.full([6, 4], value, np.float32), dimension=3)
    assert np.isfinite(table).all()
    layer, history = KnowledgeMatch(kind, table), histories(3, 7)
    history["history_rows"] %= len(table)
    assert np.isfinite(layer(np.array([0, 1, 2], np.int32), **history)).all()


def test_opposite_vectors_stay_finite() -> None:
    table = np.array([[0, 0], [1, 0], [-1, 0], [0, 1]], np.float32)
    history = histories(1, 2)
    history["history_rows"][:] = [1, 2]
    history["history_mask"][:] = True
    history["history_liked"][:] = 1
    features = KnowledgeMatch("means", table)(np.array([1, 3], np.int32), **history)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features[0, 2:], [0, 0, 1, 0], atol=1e-6)


def knowledge_vectors() -> np.ndarray:
    return np.random.default_rng(5).normal(size=[20, 8]).astype(np.float32) + 2


def test_means_table_has_whitened_directions() -> None:
    vectors = knowledge_vectors().astype(np.float64)
    table = match_table("means", vectors, dimension=8)
    centred = vectors - vectors.mean(axis=0)
    # Cosines of whitened vectors, whatever the basis: x' C^-1 y, scaled to length 1.
    products = centred @ np.linalg.inv(centred.T @ centred) @ centred.T
    lengths = np.sqrt(np.diag(products))
    np.testing.assert_array_equal(table[0], 0)
    np.testing.assert_allclose(
        table[1:] @ table[1:].T, products / np.outer(lengths, lengths), atol=1e-4
    )


def test_ridge_table_reproduces_the_kernel_of_the_method() -> None:
    vectors = knowledge_vectors().astype(np.float64)
    table = match_table("ridge", vectors, dimension=20)
    centred = vectors - vectors.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_array_equal(table[0], 0)
    np.testing.assert_allclose(
        table[1:] @ table[1:].T, 0.3 + np.exp((unit @ unit.T - 1) / 0.5), atol=1e-4
    )
    assert match_table("ridge", vectors, dimension=6).shape == (21, 7)


@pytest.mark.parametrize("kind", MATCH_KINDS)
def test_nothing_is_trained_and_the_configuration_makes_the_layer_again(kind: str) -> None:
    layer, history = matcher(kind), histories(3, 4)
    assert layer.trainable_weights == []
    again = KnowledgeMatch.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    candidates = np.array([1, 2, 3], np.int32)
    np.testing.assert_array_equal(again(candidates, **history), layer(candidates, **history))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "attention", "num_rows": 3, "width": 2}, "one of .*Received: kind='attention'"),
        ({"kind": "means"}, "give the item table, or num_rows and width"),
        ({"kind": "means", "num_rows": 3}, "give the item table, or num_rows and width"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KnowledgeMatch(**arguments)


def test_a_table_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="one of .*Received: kind='nearest'"):
        match_table("nearest", knowledge_vectors(), 4)
