from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.backbones.base import BackboneInputs
from models.backbones.dien import DeepInterestEvolutionNetwork
from tests.models.backbones.inputs import assert_logits_follow, backbone_inputs, used
from tests.models.builders import gradients_of, named_weights, sigmoid, softmax
from tests.models.numpy_layers import numpy_joined, numpy_linear, numpy_top

EVOLUTIONS = ("gru", "aigru", "agru", "augru")


def numpy_states(
    layer: tf.keras.layers.Layer, steps: list[np.ndarray], weights: np.ndarray
) -> list[np.ndarray]:
    """A recurrence over the real steps of one history."""
    parts = named_weights(layer)
    state, states = np.zeros(layer.units), []
    for step, weight in zip(steps, weights, strict=True):
        input_gates = np.split(
            (weight if layer.kind == "aigru" else 1) * step @ parts["kernel"] + parts["bias"],
            2 if layer.kind == "agru" else 3,
        )
        state_gates = np.split(state @ parts["recurrent_kernel"], len(input_gates))
        proposed = np.tanh(
            input_gates[1] + sigmoid(input_gates[0] + state_gates[0]) * state_gates[1]
        )
        if layer.kind == "agru":
            update = weight
        else:
            update = sigmoid(input_gates[2] + state_gates[2])
            update = update * weight if layer.kind == "augru" else update
        state = (1 - update) * state + update * proposed
        states.append(state)
    return states


def numpy_logit(
    layer: DeepInterestEvolutionNetwork, inputs: BackboneInputs, row: int, user: int
) -> float:
    candidate = inputs.candidate[row].numpy().reshape(-1)
    mask = inputs.history_mask[user].numpy()
    steps = list(inputs.history[user].numpy()[mask])
    states = numpy_states(layer._extractor, steps, np.ones(len(steps)))
    query = candidate @ layer._query.get_weights()[0]
    if layer.evolution == "gru":
        states = numpy_states(layer._evolution, states, np.ones(len(steps)))
        weights = softmax(np.array([query @ state for state in states]))
        interest = sum(weight * state for weight, state in zip(weights, states, strict=True))
    else:
        weights = softmax(np.array([query @ state for state in states]))
        interest = numpy_states(layer._evolution, states, weights)[-1]
    joined = numpy_joined(interest, inputs, row)
    return numpy_linear(layer._logit, numpy_top(layer._top, joined))


@pytest.mark.parametrize("evolution", EVOLUTIONS)
@pytest.mark.parametrize("sources", [0, 2])
def test_logits_follow_the_formula(evolution: str, sources: int) -> None:
    layer = DeepInterestEvolutionNetwork((7, 4), evolution=evolution)
    assert_logits_follow(numpy_logit, layer, sources)


@pytest.mark.parametrize("evolution", EVOLUTIONS)
def test_the_order_of_the_history_counts(evolution: str) -> None:
    inputs = backbone_inputs(users=1)
    layer = used(DeepInterestEvolutionNetwork((7, 4), evolution=evolution), inputs)
    reversed_history = inputs._replace(history=inputs.history[:, ::-1])
    assert np.abs(layer(reversed_history) - layer(inputs)).max() > 1e-3


def test_the_auxiliary_loss_is_added_in_training_only() -> None:
    inputs = backbone_inputs()
    layer = used(DeepInterestEvolutionNetwork((7, 4), auxiliary_weight=0.5), inputs)
    layer(inputs)
    assert layer.losses == []
    tf.keras.utils.set_random_seed(0)
    layer(inputs, training=True)
    (half,) = layer.losses
    layer.auxiliary_weight = 1.0
    tf.keras.utils.set_random_seed(0)
    layer(inputs, training=True)
    (whole,) = layer.losses
    assert whole > 0.1
    np.testing.assert_allclose(half, 0.5 * whole, rtol=1e-5)


def test_the_auxiliary_loss_teaches_the_extractor_alone() -> None:
    inputs = backbone_inputs()
    layer = used(DeepInterestEvolutionNetwork((7, 4), auxiliary_weight=1.0), inputs)

    def loss() -> tf.Tensor:
        layer(inputs, training=True)
        return layer.losses[0]

    for weight, gradient in zip(
        layer.trainable_weights, gradients_of(loss, layer.trainable_weights), strict=True
    ):
        in_extractor = any(weight is own for own in layer._extractor.trainable_weights)
        assert (gradient is not None) == in_extractor, weight.name


def test_the_auxiliary_loss_falls_where_the_next_item_can_be_foreseen() -> None:
    # Every user walks round the same circle of six items.
    places = (np.arange(6)[:, np.newaxis] + np.arange(8)) % 6
    items = np.concatenate([3 * np.eye(6)[places], np.zeros([6, 8, 2])], axis=2)
    inputs = backbone_inputs(count=6)._replace(
        history=tf.constant(items, tf.float32), history_mask=tf.ones([6, 8], tf.bool)
    )
    tf.keras.utils.set_random_seed(0)
    layer = DeepInterestEvolutionNetwork((7, 4), auxiliary_weight=1.0)
    layer(inputs)
    optimizer = tf.keras.optimizers.Adam(0.03)
    weights = layer._extractor.trainable_weights
    optimizer.build(weights)

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            layer(inputs, training=True)
            loss = layer.losses[0]
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    losses = [float(step()) for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


@pytest.mark.parametrize("length", [0, 1])
def test_a_short_history_has_no_auxiliary_loss(length: int) -> None:
    inputs = backbone_inputs()
    layer = used(DeepInterestEvolutionNetwork((7, 4), auxiliary_weight=1.0), inputs)
    short = inputs._replace(
        history=inputs.history[:, :length], history_mask=inputs.history_mask[:, :length]
    )
    assert np.isfinite(layer(short, training=True)).all()
    np.testing.assert_array_equal(layer.losses, [0])


def test_an_unknown_evolution_is_refused() -> None:
    with pytest.raises(ValueError, match="one of .*Received: evolution='lstm'"):
        DeepInterestEvolutionNetwork(evolution="lstm")
