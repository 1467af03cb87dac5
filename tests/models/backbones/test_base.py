from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.backbones import BACKBONES
from models.backbones.base import FieldStack, beside_numbers, flat
from models.building import own_options
from tests.models.backbones.inputs import WIDTH, backbone_inputs, padded, row_of, specification
from tests.models.builders import gradients_of, randomise
from tests.models.network_contract import (
    assert_configuration_keeps,
    assert_configuration_makes_an_equal_layer,
    assert_dropout_acts_in_training_only,
    assert_every_weight_has_a_gradient,
    assert_graph_and_saved_model_equal_eager,
    assert_mixed_precision_stays_close,
    assert_training_lowers_the_loss,
    names_with_slow_variants,
    weights_kept,
)
from tests.models.numpy_layers import numpy_fields

# Every backbone as it comes, and with options that change what it computes.
ARMS: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in BACKBONES} | {
    "din-softmax": ("din", {"attention_softmax": True}),
    "wide_deep-plain": ("wide_deep", {"cross_products": False}),
    "pnn-both": ("pnn", {"product": "both"}),
    "pnn-outer": ("pnn", {"product": "outer"}),
    "dlrm-squares": ("dlrm", {"self_interaction": True, "bottom_units": (5,)}),
    "masknet-serial": ("masknet", {"arrangement": "serial", "reduction_ratio": 0.5}),
    "finalmlp-learned": ("finalmlp", {"gating": "learned", "gate_units": (4, 3), "num_heads": 5}),
    "finalmlp-none": ("finalmlp", {"gating": "none", "second_top_units": (4, 3)}),
    "bst-all": ("bst", {"outputs": "all", "num_blocks": 2, "num_positions": 4}),
    "dien-gru": ("dien", {"evolution": "gru"}),
    "dien-aigru": ("dien", {"evolution": "aigru"}),
    "dien-agru": ("dien", {"evolution": "agru", "auxiliary_weight": 0.5}),
    "autoint-plus": (
        "autoint",
        {
            "num_layers": 2,
            "num_heads": 2,
            "scaled": False,
            "residual": False,
            "deep_part": True,
        },
    ),
    "fibinet-each": (
        "fibinet",
        {
            "bilinear_kind": "field_each",
            "excitation_activation": "sigmoid",
            "excitation_factor": 0.5,
        },
    ),
    "fibinet-interaction": (
        "fibinet",
        {"bilinear_kind": "field_interaction", "excitation_activation": "sigmoid"},
    ),
    "fignn-attention": (
        "fignn",
        {"num_steps": 1, "residual": False, "attention_heads": 2, "deep_part": True},
    ),
}

# At inference a score depends on the batch with this one, which the shared contract forbids.
NO_ARM = {"dice_statistics"}


def backbone(name: str, sources: int = 2, **options: float) -> tf.keras.layers.Layer:
    """A built backbone with random weights and moving statistics after one training step."""
    layer = fresh(name, **options)
    inputs = backbone_inputs(sources=sources)
    layer(inputs)
    randomise(layer.trainable_weights, seed=2, scale=0.2)
    layer(inputs, training=True)
    return layer


@functools.cache
def shared(name: str) -> tf.keras.layers.Layer:
    """A backbone that every test leaves as it was."""
    return backbone(name)


def fresh(name: str, **options: float) -> tf.keras.layers.Layer:
    kind, own_options = ARMS[name]
    return BACKBONES[kind](top_units=(6, 5), **own_options, **options)


def test_flat_lays_fields_side_by_side() -> None:
    fields = tf.constant([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    np.testing.assert_array_equal(flat(fields), [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert flat(tf.zeros([3, 0, 4])).shape == (3, 0)
    assert flat(tf.zeros([0, 2, 4])).shape == (0, 8)


def test_every_switch_and_word_is_changed_by_some_arm() -> None:
    changed = {(name, option) for name, options in ARMS.values() for option in options}
    for name, backbone in BACKBONES.items():
        for option, default in own_options(backbone).items():
            if isinstance(default, bool | str) and option not in NO_ARM:
                assert (name, option) in changed


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "autoint": {
        "num_layers": 2,
        "num_heads": 3,
        "head_units": 5,
        "scaled": False,
        "residual": False,
        "deep_part": True,
    },
    "bst": {
        "units": 6,
        "num_blocks": 2,
        "num_heads": 3,
        "feed_forward_units": 5,
        "num_positions": 9,
        "outputs": "all",
    },
    "dcn": {"num_crosses": 5},
    "dcnv2": {"num_crosses": 5},
    "dien": {"evolution": "agru", "auxiliary_weight": 0.3},
    "din": {"attention_softmax": True, "dice_statistics": "batch"},
    "dlrm": {"bottom_units": (9, 8), "self_interaction": True},
    "fibinet": {
        "bilinear_kind": "field_each",
        "excitation_factor": 0.5,
        "excitation_activation": "sigmoid",
    },
    "fignn": {"num_steps": 3, "residual": False, "attention_heads": 2, "deep_part": True},
    "finalmlp": {
        "second_top_units": (4,),
        "gating": "learned",
        "gate_units": (3,),
        "num_heads": 2,
    },
    "masknet": {
        "arrangement": "serial",
        "num_blocks": 4,
        "block_units": 9,
        "reduction_ratio": 1.5,
    },
    "pnn": {"product": "both"},
    "wide_deep": {"cross_products": False},
    "xdeepfm": {"interaction_units": (5, 6)},
}


@pytest.mark.parametrize("name", BACKBONES)
def test_the_configuration_keeps_every_option(name: str) -> None:
    options = CONFIGURATIONS.get(name, {})
    assert options.keys() == own_options(BACKBONES[name]).keys()
    assert_configuration_keeps(BACKBONES[name], {"top_units": (8,), "dropout_rate": 0.1, **options})


def test_a_stream_of_its_own_is_no_must() -> None:
    assert_configuration_keeps(BACKBONES["finalmlp"], {"second_top_units": None})


every_arm = pytest.mark.parametrize("name", ARMS)
# What takes seconds is tried with other options in the slow tests.
variants_slow = names_with_slow_variants(ARMS)


class TestEveryBackbone:
    @every_arm
    def test_a_batch_of_1_equals_its_row_in_a_batch(self, name: str) -> None:
        layer, inputs = shared(name), backbone_inputs()
        together = layer(inputs)
        assert together.shape == (4, 1)
        assert np.ptp(together) > 1e-3
        for row in range(4):
            alone = layer(row_of(inputs, row))
            assert alone.shape == (1, 1)
            np.testing.assert_allclose(alone[0], together[row], atol=1e-5)

    @every_arm
    def test_padding_changes_nothing(self, name: str) -> None:
        layer, inputs = shared(name), backbone_inputs()
        np.testing.assert_allclose(layer(padded(inputs, 3)), layer(inputs), atol=1e-5)

    @every_arm
    def test_one_user_for_many_candidates(self, name: str) -> None:
        layer, inputs = shared(name), backbone_inputs(users=1)
        repeated = inputs._replace(
            history=tf.repeat(inputs.history, 4, axis=0),
            history_mask=tf.repeat(inputs.history_mask, 4, axis=0),
        )
        np.testing.assert_allclose(layer(inputs), layer(repeated), atol=1e-5)

    @every_arm
    def test_a_history_of_length_0_equals_padding_only(self, name: str) -> None:
        layer, inputs = shared(name), backbone_inputs()
        nothing = inputs._replace(
            history=inputs.history[:, :0], history_mask=inputs.history_mask[:, :0]
        )
        only_padding = inputs._replace(history_mask=tf.zeros_like(inputs.history_mask))
        np.testing.assert_allclose(layer(nothing), layer(only_padding), atol=1e-6)

    @every_arm
    def test_every_trainable_weight_gets_a_gradient(self, name: str) -> None:
        layer, inputs = shared(name), backbone_inputs()
        with weights_kept(layer):
            assert_every_weight_has_a_gradient(
                lambda: tf.reduce_sum(layer(inputs, training=True)), layer.trainable_weights
            )

    @variants_slow
    def test_without_sources_every_trainable_weight_gets_a_gradient(self, name: str) -> None:
        layer, inputs = backbone(name, sources=0), backbone_inputs(sources=0)
        assert_every_weight_has_a_gradient(
            lambda: tf.reduce_sum(layer(inputs, training=True)), layer.trainable_weights
        )

    @variants_slow
    def test_dropout_acts_in_training_only(self, name: str) -> None:
        layer = fresh(name, dropout_rate=0.5)
        assert_dropout_acts_in_training_only(layer, shared(name), backbone_inputs())

    @every_arm
    def test_the_configuration_makes_an_equal_layer(self, name: str) -> None:
        layer = fresh(name, dropout_rate=0.25)
        options = {"top_units": [6, 5], "dropout_rate": 0.25}
        assert_configuration_makes_an_equal_layer(layer, shared(name), backbone_inputs(), options)

    @variants_slow
    def test_training_lowers_the_loss(self, name: str) -> None:
        labels = tf.constant([[0.0], [1.0]] * 4)

        def loss_of(logits: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(
                tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
            )

        assert_training_lowers_the_loss(
            lambda: fresh(name), backbone_inputs(count=8), loss_of, steps=60
        )

    @variants_slow
    def test_graph_and_saved_model_equal_eager(self, name: str, tmp_path: Path) -> None:
        layer, inputs = shared(name), backbone_inputs()
        assert_graph_and_saved_model_equal_eager(
            layer, specification(inputs), inputs, [row_of(inputs, 1)], tmp_path
        )

    @variants_slow
    def test_mixed_precision_stays_close(self, name: str) -> None:
        assert_mixed_precision_stays_close(lambda: fresh(name), shared(name), backbone_inputs())


def field_stack(numbers_as_field: bool = False) -> FieldStack:
    layer, inputs = FieldStack(numbers_as_field), backbone_inputs()
    layer(inputs)
    randomise(layer.trainable_weights, seed=4)
    layer(inputs, training=True)
    return layer


class TestFieldStack:
    @pytest.mark.parametrize("users", [1, 4])
    @pytest.mark.parametrize("numbers_as_field", [False, True])
    @pytest.mark.parametrize("sources", [0, 2])
    def test_fields_are_stacked_in_order(
        self, users: int, numbers_as_field: bool, sources: int
    ) -> None:
        layer, inputs = field_stack(numbers_as_field), backbone_inputs(users=users, sources=sources)
        expected = [numpy_fields(layer, inputs, row, row % users) for row in range(4)]
        stacked = layer(inputs)
        assert stacked.shape == (4, 1 + 2 + sources + numbers_as_field, WIDTH)
        np.testing.assert_allclose(stacked, expected, atol=1e-5)

    def test_a_batch_of_1_equals_its_row_in_a_batch(self) -> None:
        layer, inputs = field_stack(True), backbone_inputs()
        for row in range(4):
            np.testing.assert_allclose(layer(row_of(inputs, row))[0], layer(inputs)[row], atol=1e-5)

    def test_padding_changes_nothing(self) -> None:
        layer, inputs = field_stack(), backbone_inputs()
        np.testing.assert_allclose(layer(padded(inputs, 3)), layer(inputs), atol=1e-5)

    def test_an_empty_history_has_an_interest_of_zeros(self) -> None:
        layer, inputs = field_stack(), backbone_inputs()
        empty = inputs._replace(history_mask=tf.zeros_like(inputs.history_mask))
        np.testing.assert_array_equal(layer(empty)[:, 0], np.zeros([4, WIDTH]))

    def test_every_trainable_weight_gets_a_gradient(self) -> None:
        layer, inputs = field_stack(True), backbone_inputs()
        gradients = gradients_of(
            lambda: tf.reduce_sum(layer(inputs, training=True)), layer.trainable_weights
        )
        for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
            assert gradient is not None, weight.name
            assert np.abs(gradient).max() > 0, weight.name

    def test_numbers_stand_beside_the_fields(self) -> None:
        fields = tf.constant([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
        numeric = tf.constant([[0], [9]])
        np.testing.assert_array_equal(
            beside_numbers(fields, numeric), [[1, 2, 3, 4, 0], [5, 6, 7, 8, 9]]
        )
