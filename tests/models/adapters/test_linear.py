from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.adapters.linear import LinearProjection
from tests.models.adapters.cases import (
    assert_network_learns,
    assert_network_survives_saving,
    source_vectors,
)
from tests.models.builders import named_weights, randomise

INPUTS = source_vectors(item=(4, 6), user=(2, 3))


def layer() -> LinearProjection:
    made = LinearProjection(("item", "user"), 5)
    made(INPUTS)
    randomise(made.trainable_weights, seed=1)
    return made


def test_outputs_follow_the_formula() -> None:
    made = layer()
    weights, outputs = named_weights(made), made(INPUTS)
    assert tuple(outputs) == ("item", "user")
    for source, batch in INPUTS.items():
        expected = batch @ weights[f"{source}_kernel"] + weights[f"{source}_bias"]
        np.testing.assert_allclose(outputs[source], expected, atol=1e-5)


def test_every_weight_learns_and_survives_saving(tmp_path: Path) -> None:
    made = layer()
    assert len(made.trainable_weights) == 4
    assert_network_learns(made, INPUTS)
    inputs = source_vectors(item=(3, 6), user=(3, 4))
    assert_network_survives_saving(LinearProjection(("user", "item"), 5), inputs, tmp_path)


def test_first_weights_have_the_published_spread() -> None:
    tf.keras.utils.set_random_seed(0)
    made = LinearProjection(("item",), 100)
    made.build({"item": [None, 300]})
    kernel, bias = made.get_weights()
    assert kernel.std() == pytest.approx(np.sqrt(2 / 400), rel=0.03)
    assert not bias.any()


def test_configuration_makes_the_same_layer_again() -> None:
    made = LinearProjection(("item", "user"), 7, name="projection")
    again = LinearProjection.from_config(made.get_config())
    assert (again.name, again.sources, again.width) == ("projection", ("item", "user"), 7)
    assert tf.keras.utils.get_registered_name(LinearProjection) == "reki>LinearProjection"
