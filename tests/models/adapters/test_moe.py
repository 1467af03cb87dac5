from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.adapters.moe import MixtureOfExperts
from tests.models.adapters.cases import (
    assert_network_learns,
    assert_network_survives_saving,
    source_vectors,
)
from tests.models.builders import named_weights, randomise, relu, softmax

INPUTS = source_vectors(item=(4, 6), user=(2, 6))


def layer(**given: Any) -> MixtureOfExperts:
    arguments: dict[str, Any] = {"num_experts": 3, "expert_units": (5, 4)} | given
    made = MixtureOfExperts(("item", "user"), **arguments)
    made(INPUTS)
    randomise(made.trainable_weights, seed=1)
    return made


def test_outputs_and_gates_follow_the_formula() -> None:
    made = layer()
    weights, outputs, gates = named_weights(made), made(INPUTS), made.gates(INPUTS)
    (gate_kernel,) = (value for name, value in weights.items() if "gate" in name and value.ndim > 1)
    (gate_bias,) = (value for name, value in weights.items() if "gate" in name and value.ndim == 1)
    first_kernel, first_bias = weights["shared_kernel_0"], weights["shared_bias_0"]
    assert tuple(outputs) == ("item", "user")
    for source, batch in INPUTS.items():
        shares = softmax(batch @ gate_kernel + gate_bias)
        expected = np.zeros([len(batch), 4])
        for expert in range(3):
            hidden = relu(batch @ first_kernel[expert] + first_bias[expert])
            hidden = relu(
                hidden @ weights["shared_kernel_1"][expert] + weights["shared_bias_1"][expert]
            )
            expected += shares[:, [expert]] * hidden
        np.testing.assert_allclose(gates[source], shares, atol=1e-5)
        np.testing.assert_allclose(outputs[source], expected, atol=1e-5)


def test_experts_and_gate_serve_all_sources() -> None:
    made, batch = layer(), INPUTS["item"]
    assert made.num_shared_experts == made.num_experts == 3
    both = {"item": batch, "user": batch}
    np.testing.assert_array_equal(made(both)["item"], made(both)["user"])
    np.testing.assert_array_equal(made.gates(both)["item"], made.gates(both)["user"])


def test_gates_may_be_the_first_call() -> None:
    made = MixtureOfExperts(("item", "user"), 3, (5, 4))
    first = made.gates(INPUTS)
    count = len(made.trainable_weights)
    made(INPUTS)
    assert len(made.trainable_weights) == count == 6
    np.testing.assert_array_equal(made.gates(INPUTS)["user"], first["user"])


def test_every_weight_learns_and_survives_saving(tmp_path: Path) -> None:
    assert_network_learns(layer(), INPUTS)
    inputs = source_vectors(item=(3, 6), user=(3, 6))
    made = MixtureOfExperts(("user", "item"), 2, (5, 4), dropout_rate=0.2)
    assert_network_survives_saving(made, inputs, tmp_path)


def test_dropout_acts_in_training_only() -> None:
    made, plain = layer(dropout_rate=0.5), layer()
    np.testing.assert_array_equal(made(INPUTS)["item"], plain(INPUTS)["item"])
    tf.keras.utils.set_random_seed(0)
    assert np.abs(made(INPUTS, training=True)["item"] - plain(INPUTS)["item"]).max() > 0.01


def test_configuration_makes_the_same_layer_again() -> None:
    made = MixtureOfExperts(("item", "user"), 3, (5, 4), 0.25, name="mixture")
    again = MixtureOfExperts.from_config(made.get_config())
    assert (again.name, again.sources, again.num_experts) == ("mixture", ("item", "user"), 3)
    assert (again.expert_units, again.dropout_rate) == ((5, 4), pytest.approx(0.25))
