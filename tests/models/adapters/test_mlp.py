from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.adapters.mlp import SharedMLP
from tests.models.adapters.cases import (
    assert_network_learns,
    assert_network_survives_saving,
    source_vectors,
)
from tests.models.builders import named_weights, randomise, relu

INPUTS = source_vectors(item=(4, 6), user=(2, 6))


def layer(**given: Any) -> SharedMLP:
    arguments: dict[str, Any] = {"units": (5, 4)} | given
    made = SharedMLP(("item", "user"), **arguments)
    made(INPUTS)
    randomise(made.trainable_weights, seed=1)
    return made


@pytest.mark.parametrize("units", [(4,), (5, 4), (5, 6, 4)])
def test_outputs_follow_the_formula(units: tuple[int, ...]) -> None:
    made = layer(units=units)
    weights, outputs = named_weights(made), made(INPUTS)
    assert tuple(outputs) == ("item", "user")
    assert len(weights) == 2 * len(units)
    for source, batch in INPUTS.items():
        hidden = batch.astype(np.float64)
        for index in range(len(units)):
            hidden = relu(hidden @ weights[f"kernel_{index}"] + weights[f"bias_{index}"])
        np.testing.assert_allclose(outputs[source], hidden, atol=1e-5)


def test_all_sources_share_one_function() -> None:
    batch = INPUTS["item"]
    outputs = layer()({"item": batch, "user": batch})
    np.testing.assert_array_equal(outputs["item"], outputs["user"])


def test_every_weight_learns_and_survives_saving(tmp_path: Path) -> None:
    assert_network_learns(layer(), INPUTS)
    inputs = source_vectors(item=(3, 6), user=(3, 6))
    made = SharedMLP(("user", "item"), (5, 4), dropout_rate=0.2)
    assert_network_survives_saving(made, inputs, tmp_path)


def test_dropout_acts_in_training_only() -> None:
    made, plain = layer(dropout_rate=0.4, units=(50,)), layer(units=(50,))
    for weight in [*made.trainable_weights, *plain.trainable_weights]:
        weight.assign(tf.ones_like(weight))
    ones = {"item": np.ones([300, 6], np.float32), "user": np.ones([1, 6], np.float32)}
    np.testing.assert_array_equal(made(ones)["item"], plain(ones)["item"])
    tf.keras.utils.set_random_seed(0)
    dropped = made(ones, training=True)["item"].numpy()
    assert np.mean(dropped == 0) == pytest.approx(0.4, abs=0.02)
    np.testing.assert_allclose(dropped[dropped > 0], 7 / 0.6, rtol=1e-5)


def test_configuration_makes_the_same_layer_again() -> None:
    made = SharedMLP(("item", "user"), (5, 4), 0.25, name="shared")
    again = SharedMLP.from_config(made.get_config())
    assert (again.name, again.sources, again.units) == ("shared", ("item", "user"), (5, 4))
    assert (again.width, again.dropout_rate) == (4, 0.25)
