from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.rerankers import RERANKERS
from models.rerankers.base import CandidateFeatures, ListInputs, flat_in_lists
from tests.models.builders import gradients_of
from tests.models.network_contract import (
    assert_configuration_makes_an_equal_layer,
    assert_dropout_acts_in_training_only,
    assert_every_weight_has_a_gradient,
    assert_graph_and_saved_model_equal_eager,
    assert_mixed_precision_stays_close,
    assert_training_lowers_the_loss,
    names_with_slow_variants,
    weights_kept,
)
from tests.models.numpy_layers import numpy_features
from tests.models.rerankers.inputs import (
    chosen,
    list_inputs,
    list_of,
    specification,
    used,
    with_other_padding,
    with_padded_history,
)

SMALL: dict[str, dict[str, Any]] = {
    "dlcm": {"units": 4, "context_units": 3},
    "prm": {"units": 4, "num_heads": 2, "feed_forward_units": 5},
    "setrank": {"units": 4, "num_heads": 2, "feed_forward_units": 5, "num_points": 3},
    "mir": {"units": 4, "num_heads": 2},
}
# Every re-ranker as it comes, but small, and with options that change what it computes.
ARMS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in RERANKERS} | {
    "prm-positions": ("prm", {"num_positions": 3, "num_blocks": 2}),
    "setrank-full": ("setrank", {"attention": "full", "num_blocks": 2}),
}
IN_ANY_ORDER = ["prm", "setrank", "setrank-full", "mir"]


def reranker(name: str, sources: int = 2, **options: float) -> tf.keras.layers.Layer:
    """A built re-ranker with random weights and moving statistics after one training step."""
    return used(fresh(name, **options), list_inputs(sources=sources))


@functools.cache
def shared(name: str) -> tf.keras.layers.Layer:
    """A re-ranker that every test leaves as it was."""
    return reranker(name)


def fresh(name: str, **options: float) -> tf.keras.layers.Layer:
    kind, own_options = ARMS[name]
    return RERANKERS[kind](top_units=(6, 5), **(SMALL[kind] | own_options), **options)


def assert_equal_scores(
    scores: tf.Tensor, expected: tf.Tensor, inputs: ListInputs, atol: float = 1e-5
) -> None:
    """Equal scores of real candidates, finite ones of all."""
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(
        tf.boolean_mask(scores, inputs.candidate_mask),
        tf.boolean_mask(expected, inputs.candidate_mask),
        atol=atol,
    )


def test_flat_in_lists_lays_fields_side_by_side() -> None:
    fields = tf.reshape(tf.range(8), [1, 2, 2, 2])
    np.testing.assert_array_equal(flat_in_lists(fields), [[[0, 1, 2, 3], [4, 5, 6, 7]]])
    assert flat_in_lists(tf.zeros([3, 2, 0, 4])).shape == (3, 2, 0)
    assert flat_in_lists(tf.zeros([0, 2, 2, 4])).shape == (0, 2, 8)


every_arm = pytest.mark.parametrize("name", ARMS)
# What takes seconds is tried with other options in the slow tests.
variants_slow = names_with_slow_variants(ARMS)


class TestEveryReranker:
    @every_arm
    def test_a_batch_of_1_equals_its_list_in_a_batch(self, name: str) -> None:
        layer, inputs = shared(name), list_inputs()
        together = layer(inputs)
        assert together.shape == (4, 5)
        assert np.ptp(tf.boolean_mask(together, inputs.candidate_mask)) > 1e-2
        for index in range(4):
            one = list_of(inputs, index)
            assert_equal_scores(layer(one), together[index : index + 1], one)

    @every_arm
    def test_other_candidates_change_a_score(self, name: str) -> None:
        layer, inputs = shared(name), list_inputs()
        alone = layer(chosen(inputs, [2]))
        assert alone.shape == (4, 1)
        assert abs(float((layer(inputs)[:, 2:3] - alone)[0, 0])) > 1e-4

    @every_arm
    def test_lists_without_candidates_have_no_scores(self, name: str) -> None:
        assert shared(name)(chosen(list_inputs(), [])).shape == (4, 0)

    @every_arm
    def test_the_history_changes_a_score(self, name: str) -> None:
        layer, inputs = shared(name), list_inputs()
        other = inputs._replace(history=tf.reverse(inputs.history, [0]))
        assert abs(float((layer(inputs) - layer(other))[0, 0])) > 1e-4

    @every_arm
    def test_what_padding_holds_changes_nothing(self, name: str) -> None:
        layer, inputs = shared(name), list_inputs()
        assert_equal_scores(layer(with_other_padding(inputs)), layer(inputs), inputs)

    @every_arm
    def test_padding_of_lists_changes_nothing(self, name: str) -> None:
        layer, inputs = shared(name), list_inputs()
        real = np.flatnonzero(inputs.candidate_mask[1])
        one = list_of(inputs, 1)
        without = chosen(one, list(real))
        np.testing.assert_allclose(tf.gather(layer(one), real, axis=1), layer(without), atol=1e-5)
        further = chosen(one, [0, 1, 1, 2, 1, 3, 4, 4])
        kept = [0, 3, 5]
        np.testing.assert_allclose(
            tf.gather(layer(further), kept, axis=1), layer(without), atol=1e-5
        )

    @every_arm
    def test_padding_in_training_changes_no_gradient(self, name: str) -> None:
        layer, inputs = shared(name), list_inputs()
        mask = tf.cast(inputs.candidate_mask, tf.float32)

        def gradients(given: ListInputs) -> list[Any]:
            with weights_kept(layer):
                return gradients_of(
                    lambda: tf.reduce_sum(tf.square(layer(given, training=True)) * mask),
                    layer.trainable_weights,
                )

        for other, expected in zip(
            gradients(with_other_padding(inputs)), gradients(inputs), strict=True
        ):
            np.testing.assert_allclose(other, expected, rtol=1e-3, atol=1e-4)

    @every_arm
    def test_padding_of_histories_changes_nothing(self, name: str) -> None:
        layer, inputs = shared(name), list_inputs()
        assert_equal_scores(layer(with_padded_history(inputs, 3)), layer(inputs), inputs)

    @every_arm
    def test_a_history_of_length_0_equals_padding_only(self, name: str) -> None:
        layer, inputs = shared(name), list_inputs()
        nothing = inputs._replace(
            history=inputs.history[:, :0], history_mask=inputs.history_mask[:, :0]
        )
        only_padding = inputs._replace(history_mask=tf.zeros_like(inputs.history_mask))
        assert_equal_scores(layer(nothing), layer(only_padding), inputs)

    @every_arm
    @pytest.mark.parametrize("training", [False, True])
    def test_a_list_of_padding_gives_finite_numbers(self, name: str, training: bool) -> None:
        layer, inputs = shared(name), list_inputs(lists=1)
        empty = inputs._replace(
            candidate_mask=tf.zeros_like(inputs.candidate_mask),
            history_mask=tf.zeros_like(inputs.history_mask),
        )
        weights = layer.trainable_weights
        with weights_kept(layer):
            assert np.isfinite(layer(empty, training=training)).all()
            gradients = gradients_of(
                lambda: tf.reduce_sum(layer(empty, training=training)), weights
            )
        assert all(gradient is None or np.isfinite(gradient).all() for gradient in gradients)

    @every_arm
    @pytest.mark.parametrize("sources", [0, 2])
    def test_every_trainable_weight_gets_a_gradient(self, name: str, sources: int) -> None:
        layer, inputs = reranker(name, sources), list_inputs(sources=sources)
        # The square, because adding a constant to all scores of a list is no direction for some.
        assert_every_weight_has_a_gradient(
            lambda: tf.reduce_sum(tf.square(layer(inputs, training=True))),
            layer.trainable_weights,
            above=1e-7,
        )

    @variants_slow
    def test_dropout_acts_in_training_only(self, name: str) -> None:
        layer = fresh(name, dropout_rate=0.5)
        assert_dropout_acts_in_training_only(layer, shared(name), list_inputs())

    @every_arm
    def test_the_configuration_makes_an_equal_layer(self, name: str) -> None:
        layer = fresh(name, dropout_rate=0.25)
        kind, own_options = ARMS[name]
        options = {"top_units": [6, 5], "dropout_rate": 0.25} | SMALL[kind] | own_options
        assert_configuration_makes_an_equal_layer(layer, shared(name), list_inputs(), options)

    @variants_slow
    def test_training_lowers_the_loss(self, name: str) -> None:
        inputs = list_inputs(lists=8)
        labels = tf.constant(
            np.resize([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0], [8, 5]), dtype=tf.float32
        )
        mask = tf.cast(inputs.candidate_mask, tf.float32)

        def loss_of(logits: tf.Tensor) -> tf.Tensor:
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
            return tf.reduce_sum(losses * mask) / tf.reduce_sum(mask)

        assert_training_lowers_the_loss(lambda: fresh(name), inputs, loss_of, steps=80)

    @variants_slow
    def test_graph_and_saved_model_equal_eager(self, name: str, tmp_path: Path) -> None:
        layer, inputs = shared(name), list_inputs()
        others = [list_of(inputs, 1), chosen(inputs, [2]), chosen(inputs, [0, 1] * 4)]
        assert_graph_and_saved_model_equal_eager(
            layer, specification(inputs), inputs, others, tmp_path
        )

    @variants_slow
    def test_mixed_precision_stays_close(self, name: str) -> None:
        assert_mixed_precision_stays_close(lambda: fresh(name), shared(name), list_inputs())


@pytest.mark.parametrize("name", IN_ANY_ORDER)
@pytest.mark.parametrize("training", [False, True])
def test_a_permutation_of_candidates_permutes_the_scores(name: str, training: bool) -> None:
    inputs, order = list_inputs(), [3, 0, 4, 2, 1]
    layer = shared(name)
    with weights_kept(layer):
        expected = tf.gather(layer(inputs, training=training), order, axis=1)
    with weights_kept(layer):
        permuted = layer(chosen(inputs, order), training=training)
    assert_equal_scores(permuted, expected, chosen(inputs, order))


@pytest.mark.parametrize("name", ["dlcm", "prm-positions"])
def test_these_see_the_order(name: str) -> None:
    layer, inputs, order = shared(name), list_inputs(), [3, 0, 4, 2, 1]
    difference = layer(chosen(inputs, order)) - tf.gather(layer(inputs), order, axis=1)
    assert np.abs(difference[0]).max() > 1e-3


class TestCandidateFeatures:
    @pytest.mark.parametrize("sources", [0, 2])
    def test_features_follow_the_formula(self, sources: int) -> None:
        inputs = list_inputs(sources=sources)
        layer = used(CandidateFeatures(), inputs)
        features = layer(inputs).numpy()
        # Interest and candidate of two fields each, four numbers, side fields.
        assert features.shape == (4, 5, 3 * (2 + 2 + sources) + 4)
        for index in range(4):
            real = inputs.candidate_mask[index].numpy()
            np.testing.assert_allclose(
                features[index][real], numpy_features(layer, inputs, index), atol=1e-5
            )

    def test_a_batch_of_1_and_padding(self) -> None:
        inputs = list_inputs()
        layer = used(CandidateFeatures(), inputs)
        expected, other = layer(inputs), layer(with_other_padding(inputs))
        for index in range(4):
            np.testing.assert_allclose(layer(list_of(inputs, index))[0], expected[index], atol=1e-5)
            real = inputs.candidate_mask[index].numpy()
            np.testing.assert_allclose(other[index][real], expected[index][real], atol=1e-5)
