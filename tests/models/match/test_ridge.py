from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.kernel_ridge import KernelRidge

from models.match import MatchMethod
from models.match.ridge import (
    PositiveParameter,
    exact_ridge,
    low_rank_ridge,
    ridge_contributions,
    whitening,
)
from models.reduction import nystroem_features
from tests.models.match.histories import histories, matcher


def features_and_history(
    users: int, candidates: int, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return (
        random.normal(size=[users, candidates, 5]).astype(np.float32),
        random.normal(size=[users, length, 5]).astype(np.float32),
        random.normal(size=[users, length]).astype(np.float32),
    )


@pytest.mark.parametrize("noise", [0.5, 2.0])
@pytest.mark.parametrize("length", [0, 1, 12])
@pytest.mark.parametrize(("users", "count"), [(3, 4), (1, 1), (1, 100)])
def test_low_rank_ridge_is_a_plain_solve(noise: float, length: int, users: int, count: int) -> None:
    candidates, history, residuals = features_and_history(users, count, length)
    actual = low_rank_ridge(candidates, history, residuals, tf.constant(noise))
    assert actual.shape == (users, count, 2)
    for user in range(users):
        phi, to_predict = history[user].astype(np.float64), candidates[user]
        precision = np.eye(5) + phi.T @ phi / noise
        mean = to_predict @ np.linalg.solve(precision, phi.T @ residuals[user] / noise)
        variance = np.diag(to_predict @ np.linalg.solve(precision, to_predict.T))
        np.testing.assert_allclose(actual[user, :, 0], mean, atol=1e-4)
        np.testing.assert_allclose(actual[user, :, 1], np.sqrt(variance), atol=1e-4)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_both_means_are_that_of_sklearn(noise: float) -> None:
    candidates, history, residuals = features_and_history(1, 4, 12)
    low_rank = low_rank_ridge(candidates, history, residuals, tf.constant(noise))
    model = KernelRidge(alpha=noise, kernel="precomputed")
    model.fit(history[0] @ history[0].T, residuals[0])
    np.testing.assert_allclose(
        low_rank[0, :, 0], model.predict(candidates[0] @ history[0].T), atol=1e-4
    )
    candidates, history = (
        part / np.linalg.norm(part, axis=2, keepdims=True) for part in (candidates, history)
    )
    exact = exact_ridge(
        candidates, history, residuals, np.ones_like(residuals), *tf.unstack([0.4, 0.2, noise])
    )

    def kernel(left: np.ndarray) -> np.ndarray:
        return 0.2 + np.exp((left @ history[0].T - 1) / 0.4)

    model.fit(kernel(history[0]), residuals[0])
    np.testing.assert_allclose(exact[0, :, 0], model.predict(kernel(candidates[0])), atol=1e-4)


def test_masked_interactions_take_no_part_in_the_exact_form() -> None:
    candidates, history, residuals = features_and_history(2, 3, 6)
    mask = np.array([[1, 0, 1, 1, 0, 1]] * 2, np.float32)
    parameters = tf.unstack([0.5, 0.3, 1.0])
    masked = exact_ridge(candidates, history, residuals * mask, mask, *parameters)
    kept = [0, 2, 3, 5]
    without = exact_ridge(
        candidates, history[:, kept], residuals[:, kept], mask[:, kept], *parameters
    )
    np.testing.assert_allclose(masked, without, atol=1e-5)


def test_forms_agree_when_every_item_is_a_landmark() -> None:
    history, candidates = histories(20, 30), np.arange(20) % 13
    low_rank = matcher("ridge")(candidates, **history)
    exact = matcher("ridge", form="exact")(candidates, **history)
    np.testing.assert_allclose(low_rank, exact, atol=1e-4)
    fewer = matcher("ridge", dimension=3)(candidates, **history)
    assert np.abs(fewer - exact).max() > 0.05


@pytest.mark.parametrize("form", ["low_rank", "exact"])
def test_repeating_an_interaction_makes_ridge_surer(form: str) -> None:
    layer, history = matcher("ridge", form=form), histories(1, 1)
    history["history_mask"][:] = True
    history["history_rows"][:] = 2
    history["history_residuals"][:] = 1.0
    once = layer(np.array([2]), **history)[0]
    repeated = {name: np.repeat(value, 50, axis=1) for name, value in history.items()}
    many = layer(np.array([2]), **repeated)[0]
    assert once[0] < many[0] < 1
    assert many[1] < once[1] / 2


def test_learned_features_are_the_fixed_ones() -> None:
    random = np.random.default_rng(3)
    landmarks, vectors = random.normal(size=[6, 8]), random.normal(size=[20, 8])
    landmarks, vectors = (
        part / np.linalg.norm(part, axis=1, keepdims=True) for part in (landmarks, vectors)
    )
    among, cosines = landmarks @ landmarks.T, vectors @ landmarks.T
    factors = whitening(tf.constant([among, np.eye(6)], tf.float32), tf.constant(0.5))
    actual = np.exp((cosines - 1) / 0.5) @ factors[0].numpy()
    expected = nystroem_features(cosines, among, 0.5, 0.3)[:, :-1]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_learned_match_equals_the_fixed_one_before_training() -> None:
    history, candidates = histories(20, 30), np.arange(20) % 13
    for options in ({"kind": "means"}, {"kind": "ridge", "dimension": 4}):
        fixed = matcher(**options, learned=False)(candidates, **history)
        learned = matcher(**options, learned=True)(candidates, **history)
        np.testing.assert_allclose(learned, fixed, atol=1e-4)


class TestPositiveParameter:
    @pytest.mark.parametrize("value", [0.5, (0.1, 0.25)])
    def test_a_parameter_starts_at_its_value(self, value: float | tuple[float, ...]) -> None:
        layer = tf.keras.layers.Layer()
        np.testing.assert_allclose(PositiveParameter(layer, "scale", value, False)(), value)
        assert layer.weights == []
        np.testing.assert_allclose(
            PositiveParameter(layer, "scale", value, True)(), value, rtol=1e-6
        )
        assert [weight.name for weight in layer.trainable_weights] == ["log_scale:0"]

    def test_training_moves_it_and_keeps_it_positive(self) -> None:
        layer = tf.keras.layers.Layer()
        parameter = PositiveParameter(layer, "scale", 0.5, True)
        (weight,) = layer.trainable_weights
        weight.assign(-3.0)
        assert float(parameter()) == pytest.approx(np.exp(-3))
        for extreme, bound in ((-50.0, 1e-3), (50.0, 1e3)):
            weight.assign(weight.constraint(tf.constant(extreme)))
            assert float(parameter()) == pytest.approx(bound, rel=1e-4)


class TestContributions:
    def test_one_interaction_by_hand(self) -> None:
        vector = np.float32([[0.6, 0.8]])
        exact = MatchMethod("ridge", form="exact", length_scale=0.4, bias=0.2, noise=0.5)
        actual = ridge_contributions(exact, vector, vector, np.array([1.5]))
        np.testing.assert_allclose(actual, [[1.5 * 1.2 / (1.2 + 0.5)]], rtol=1e-4)
        low_rank = MatchMethod("ridge", noise=0.5)
        actual = ridge_contributions(low_rank, 2 * vector, vector, np.array([1.5]))
        np.testing.assert_allclose(actual, [[1.5 * 2 / (1 + 0.5)]], rtol=1e-6)

    @pytest.mark.parametrize("length", [0, 1, 12])
    def test_they_add_up_and_each_is_the_mean_of_its_residual_alone(self, length: int) -> None:
        candidates, history, residuals = features_and_history(1, 7, length)
        unit_candidates, unit_history = (
            part / np.linalg.norm(part, axis=2, keepdims=True) for part in (candidates, history)
        )
        parameters = tf.unstack([0.4, 0.2, 2.0])

        def low_rank(residuals: np.ndarray) -> np.ndarray:
            return low_rank_ridge(candidates, history, residuals, parameters[2])[0, :, 0]

        def exact(residuals: np.ndarray) -> np.ndarray:
            mask = np.ones_like(residuals)
            return exact_ridge(unit_candidates, unit_history, residuals, mask, *parameters)[0, :, 0]

        options = {"length_scale": 0.4, "bias": 0.2, "noise": 2.0}
        for mean, form, rows in (
            (low_rank, "low_rank", (candidates, history)),
            (exact, "exact", (unit_candidates, unit_history)),
        ):
            method = MatchMethod("ridge", form, **options)
            actual = ridge_contributions(method, rows[0][0], rows[1][0], residuals[0])
            assert actual.shape == (7, length)
            np.testing.assert_allclose(actual.sum(axis=1), mean(residuals), atol=1e-5)
            for place in range(length):
                alone = np.where(np.arange(length) == place, residuals, np.float32(0))
                np.testing.assert_allclose(actual[:, place], mean(alone), atol=1e-5)
