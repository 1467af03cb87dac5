from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.layer_support import precision
from models.retrieval import RETRIEVERS
from models.retrieval.base import ItemInputs, UserInputs
from models.retrieval.two_tower import TwoTower
from tests.models.builders import gradients_of, randomise, relu, softmax
from tests.models.numpy_layers import dense
from tests.models.retrieval.inputs import item_inputs, user_inputs

ARMS: list[dict[str, Any]] = [
    {},
    {"pooling": "mean"},
    {"normalize": False, "temperature": 1.0},
]


def towers(**options: Any) -> TwoTower:
    """Small towers with random weights."""
    layer = TwoTower((7, 5), output_units=4, interest_units=6, **options)
    layer((user_inputs(), item_inputs()))
    randomise(layer.trainable_weights, seed=2)
    return layer


def numpy_network(network: tf.keras.Sequential, output: Any, inputs: np.ndarray) -> np.ndarray:
    hidden = inputs
    for layer in network.layers[::2]:
        kernel, bias = dense(layer)
        hidden = relu(hidden @ kernel + bias)
    kernel, *bias = output.get_weights()
    return hidden @ kernel + (bias[0] if bias else 0)


def numpy_user(layer: TwoTower, users: UserInputs, user: int) -> np.ndarray:
    kernel, bias = dense(layer._interest._projection)
    steps = relu(users.history[user].numpy()[users.history_mask[user].numpy()] @ kernel + bias)
    if layer.pooling == "attention":
        key_kernel, key_bias = dense(layer._interest._key)
        (query,) = layer._interest._query.get_weights()
        interest = softmax((np.tanh(steps @ key_kernel + key_bias) @ query)[:, 0]) @ steps
    else:
        interest = steps.mean(axis=0)
    joined = np.concatenate(
        [interest, users.numeric[user], users.side_fields[user].numpy().reshape(-1)]
    )
    return numpy_network(layer._user_network, layer._user_output, joined)


def numpy_items(layer: TwoTower, items: ItemInputs) -> np.ndarray:
    count = len(items.fields)
    joined = np.concatenate(
        [
            items.fields.numpy().reshape(count, -1),
            items.numeric,
            items.side_fields.numpy().reshape(count, -1),
        ],
        axis=1,
    )
    return numpy_network(layer._item_network, layer._item_output, joined)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_registry_knows_it() -> None:
    assert RETRIEVERS == {"two_tower": TwoTower}


@pytest.mark.parametrize("options", ARMS)
@pytest.mark.parametrize("sources", [0, 2])
def test_vectors_follow_the_formula(options: dict[str, Any], sources: int) -> None:
    layer = TwoTower((7, 5), output_units=4, interest_units=6, **options)
    users, items = user_inputs(sources=sources), item_inputs(sources=sources)
    layer((users, items))
    randomise(layer.trainable_weights, seed=2)
    expected_users = np.stack([numpy_user(layer, users, user) for user in range(4)])
    expected_items = numpy_items(layer, items)
    if layer.normalize:
        expected_users, expected_items = unit(expected_users), unit(expected_items)
    user_vectors, item_vectors = layer((users, items))
    np.testing.assert_allclose(user_vectors, expected_users, atol=1e-5)
    np.testing.assert_allclose(item_vectors, expected_items, atol=1e-5)
    assert np.ptp(expected_users, axis=0).min() > 1e-2


def test_towers_share_no_weight_and_see_no_input_of_the_other() -> None:
    layer = towers()
    sides = {
        "user": lambda: tf.reduce_sum(layer.user_vectors(user_inputs())[:, 0]),
        "item": lambda: tf.reduce_sum(layer.item_vectors(item_inputs())[:, 0]),
    }
    reached = {
        side: {
            index
            for index, gradient in enumerate(gradients_of(function, layer.trainable_weights))
            if gradient is not None
        }
        for side, function in sides.items()
    }
    assert reached["user"] | reached["item"] == set(range(len(layer.trainable_weights)))
    assert not reached["user"] & reached["item"]


@pytest.mark.parametrize("options", ARMS)
def test_every_weight_learns(options: dict[str, Any]) -> None:
    layer, inputs = towers(**options), (user_inputs(), item_inputs())
    random = np.random.default_rng(7)
    directions = [random.normal(size=output.shape) for output in layer(inputs)]

    def function() -> tf.Tensor:
        outputs = layer(inputs, training=True)
        return tf.add_n(
            [
                tf.reduce_sum(output * direction)
                for output, direction in zip(outputs, directions, strict=True)
            ]
        )

    assert len(layer.trainable_weights) == len(layer.weights)
    for weight, gradient in zip(layer.weights, gradients_of(function, layer.weights), strict=True):
        assert gradient is not None, weight.name
        assert np.abs(gradient).max() > 1e-6, weight.name


def test_rows_do_not_mix() -> None:
    layer = towers()
    users, items = user_inputs(), item_inputs()
    user_vectors, item_vectors = layer((users, items))
    for row in range(4):
        user = UserInputs(*[part[row : row + 1] for part in users])
        item = ItemInputs(*[part[row : row + 1] for part in items])
        np.testing.assert_allclose(layer.user_vectors(user)[0], user_vectors[row], atol=1e-6)
        np.testing.assert_allclose(layer.item_vectors(item)[0], item_vectors[row], atol=1e-6)


@pytest.mark.parametrize("pooling", ["attention", "mean"])
def test_padding_changes_nothing_and_an_empty_history_is_finite(pooling: str) -> None:
    layer, users = towers(pooling=pooling), user_inputs()
    padded = users._replace(
        history=tf.concat([tf.fill([4, 3, users.history.shape[2]], 9.0), users.history], axis=1),
        history_mask=tf.concat([tf.fill([4, 3], False), users.history_mask], axis=1),
    )
    np.testing.assert_allclose(layer.user_vectors(padded), layer.user_vectors(users), atol=1e-6)
    empty = users._replace(history_mask=tf.zeros_like(users.history_mask))
    nothing = users._replace(history=users.history[:, :0], history_mask=users.history_mask[:, :0])
    assert np.isfinite(layer.user_vectors(empty)).all()
    np.testing.assert_allclose(layer.user_vectors(empty), layer.user_vectors(nothing), atol=1e-6)


def test_vectors_are_close_and_float32_in_mixed_precision() -> None:
    exact, inputs = towers(), (user_inputs(), item_inputs())
    with precision("mixed_bfloat16"):
        mixed = TwoTower((7, 5), output_units=4, interest_units=6)
        mixed(inputs)
        mixed.set_weights(exact.get_weights())
        outputs = mixed(inputs)
    for output, expected in zip(outputs, exact(inputs), strict=True):
        assert output.dtype == tf.float32
        np.testing.assert_allclose(output, expected, atol=0.1)
        np.testing.assert_allclose(np.linalg.norm(output, axis=1), 1, atol=1e-5)
        assert not np.array_equal(output, expected)


def test_it_survives_saving(tmp_path: Path) -> None:
    layer = towers(dropout_rate=0.3, pooling="mean", normalize=False)
    inputs = (user_inputs(), item_inputs())
    entries = tf.nest.map_structure(
        lambda part: tf.keras.Input(part.shape[1:], dtype=part.dtype), inputs
    )
    model = tf.keras.Model(entries, layer(entries))
    model.save(tmp_path / "model.keras")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    for output, expected in zip(again(inputs), layer(inputs), strict=True):
        np.testing.assert_allclose(output, expected, atol=1e-6)
    assert TwoTower.from_config(layer.get_config()).get_config() == layer.get_config()


def test_dropout_is_active_in_training_only() -> None:
    layer = towers(dropout_rate=0.5)
    users = user_inputs()
    assert np.array_equal(layer.user_vectors(users), layer.user_vectors(users, training=False))
    assert not np.allclose(layer.user_vectors(users, training=True), layer.user_vectors(users))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        TwoTower(temperature=temperature)
