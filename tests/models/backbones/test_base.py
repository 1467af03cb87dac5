from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.backbone_options import own_options
from models.backbones import BACKBONES
from models.backbones.base import flat
from tests.models.backbones.inputs import backbone_inputs, padded, row_of, specification
from tests.models.builders import gradients_of, randomise

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
    kind, own_options = ARMS[name]
    layer = BACKBONES[kind](top_units=(6, 5), **own_options, **options)
    inputs = backbone_inputs(sources=sources)
    layer(inputs)
    randomise(layer.trainable_weights, seed=2, scale=0.2)
    layer(inputs, training=True)
    return layer


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


@pytest.fixture
def mixed_precision() -> Iterator[None]:
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf.keras.mixed_precision.set_global_policy("float32")


every_arm = pytest.mark.parametrize("name", ARMS)
# What takes seconds is tried with other options in the slow tests.
variants_slow = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if "-" in name else name for name in ARMS],
)


class TestEveryBackbone:
    @every_arm
    def test_a_batch_of_1_equals_its_row_in_a_batch(self, name: str) -> None:
        layer, inputs = backbone(name), backbone_inputs()
        together = layer(inputs)
        assert together.shape == (4, 1)
        assert np.ptp(together) > 1e-3
        for row in range(4):
            alone = layer(row_of(inputs, row))
            assert alone.shape == (1, 1)
            np.testing.assert_allclose(alone[0], together[row], atol=1e-5)

    @every_arm
    def test_padding_changes_nothing(self, name: str) -> None:
        layer, inputs = backbone(name), backbone_inputs()
        np.testing.assert_allclose(layer(padded(inputs, 3)), layer(inputs), atol=1e-5)

    @every_arm
    def test_one_user_for_many_candidates(self, name: str) -> None:
        layer, inputs = backbone(name), backbone_inputs(users=1)
        repeated = inputs._replace(
            history=tf.repeat(inputs.history, 4, axis=0),
            history_mask=tf.repeat(inputs.history_mask, 4, axis=0),
        )
        np.testing.assert_allclose(layer(inputs), layer(repeated), atol=1e-5)

    @every_arm
    def test_a_history_of_length_0_equals_padding_only(self, name: str) -> None:
        layer, inputs = backbone(name), backbone_inputs()
        nothing = inputs._replace(
            history=inputs.history[:, :0], history_mask=inputs.history_mask[:, :0]
        )
        only_padding = inputs._replace(history_mask=tf.zeros_like(inputs.history_mask))
        np.testing.assert_allclose(layer(nothing), layer(only_padding), atol=1e-6)

    @every_arm
    @pytest.mark.parametrize("sources", [0, 2])
    def test_every_trainable_weight_gets_a_gradient(self, name: str, sources: int) -> None:
        layer, inputs = backbone(name, sources), backbone_inputs(sources=sources)
        weights = layer.trainable_weights
        gradients = gradients_of(lambda: tf.reduce_sum(layer(inputs, training=True)), weights)
        for weight, gradient in zip(weights, gradients, strict=True):
            assert gradient is not None, weight.name
            assert np.abs(gradient).max() > 0, weight.name

    @every_arm
    def test_dropout_acts_in_training_only(self, name: str) -> None:
        layer, inputs = backbone(name, dropout_rate=0.5), backbone_inputs()
        plain = backbone(name)
        np.testing.assert_allclose(layer(inputs), layer(inputs, training=False), atol=0)
        assert np.abs(layer(inputs, training=True) - plain(inputs, training=True)).max() > 1e-3

    @every_arm
    def test_the_configuration_makes_an_equal_layer(self, name: str) -> None:
        layer = backbone(name, dropout_rate=0.25)
        config = layer.get_config()
        assert (config["top_units"], config["dropout_rate"]) == ([6, 5], 0.25)
        copy = type(layer).from_config(config)
        inputs = backbone_inputs()
        copy(inputs)
        copy.set_weights(layer.get_weights())
        np.testing.assert_allclose(copy(inputs), layer(inputs), atol=1e-6)

    @variants_slow
    def test_training_lowers_the_loss(self, name: str) -> None:
        inputs, labels = backbone_inputs(count=8), tf.constant([[0.0], [1.0]] * 4)
        tf.keras.utils.set_random_seed(0)
        layer = BACKBONES[ARMS[name][0]](top_units=(6, 5), **ARMS[name][1])
        optimizer = tf.keras.optimizers.Adam(0.01)

        @tf.function
        def step() -> tf.Tensor:
            with tf.GradientTape() as tape:
                logits = layer(inputs, training=True)
                loss = tf.reduce_mean(
                    tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
                )
            gradients = tape.gradient(loss, layer.trainable_weights)
            optimizer.apply_gradients(zip(gradients, layer.trainable_weights, strict=True))
            return loss

        layer(inputs)
        optimizer.build(layer.trainable_weights)
        losses = [float(step()) for _ in range(60)]
        assert losses[-1] < 0.7 * losses[0]

    @variants_slow
    def test_graph_and_saved_model_equal_eager(self, name: str, tmp_path: Path) -> None:
        layer, inputs = backbone(name), backbone_inputs()
        module = tf.Module()
        module.layer = layer
        module.score = tf.function(layer, input_signature=[specification(inputs)])
        np.testing.assert_allclose(module.score(inputs), layer(inputs), atol=1e-5)
        tf.saved_model.save(module, str(tmp_path))
        reloaded = tf.saved_model.load(str(tmp_path))
        np.testing.assert_allclose(reloaded.score(inputs), layer(inputs), atol=1e-5)
        alone = row_of(inputs, 1)
        np.testing.assert_allclose(reloaded.score(alone), layer(alone), atol=1e-5)

    @every_arm
    @pytest.mark.usefixtures("mixed_precision")
    def test_mixed_precision_stays_close(self, name: str) -> None:
        inputs = backbone_inputs()
        layer = backbone(name)
        assert {weight.dtype for weight in layer.weights} == {tf.float32}
        mixed = layer(inputs)
        assert mixed.dtype == tf.bfloat16
        tf.keras.mixed_precision.set_global_policy("float32")
        exact = backbone(name)
        exact.set_weights(layer.get_weights())
        deviation = np.abs(tf.cast(mixed, tf.float32) - exact(inputs)).max()
        assert deviation < 0.05 * max(1.0, np.ptp(exact(inputs)))
