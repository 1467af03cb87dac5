from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.layers.set_attention import InducedSetAttention
from tests.models.layers.contract import assert_meets_the_contract, built
from tests.models.layers.sets import SETS, SIZE, normal, other_padding, set_mask
from tests.models.numpy_sets import numpy_induced

WIDTH = 6


def inputs() -> tuple[np.ndarray, np.ndarray]:
    return normal(SETS, SIZE, WIDTH), set_mask()


def induced(**options: Any) -> InducedSetAttention:
    return InducedSetAttention(
        **({"num_points": 3, "num_heads": 2, "feed_forward_units": 7} | options)
    )


@pytest.mark.parametrize("points", [1, 3])
def test_outputs_follow_the_formula(points: int) -> None:
    layer, (members, mask) = built(induced(num_points=points), inputs()), inputs()
    outputs = layer(inputs()).numpy()
    assert outputs.shape == (SETS, SIZE, WIDTH)
    for row in range(SETS):
        real = mask[row]
        expected = numpy_induced(layer, list(members[row][real]))
        np.testing.assert_allclose(outputs[row][real], np.reshape(expected, [-1, WIDTH]), atol=1e-5)


def test_a_permutation_permutes_the_output() -> None:
    layer, (members, mask), order = built(induced(), inputs()), inputs(), [2, 0, 4, 1, 3]
    permuted = layer((members[:, order], mask[:, order]))
    np.testing.assert_allclose(permuted, layer(inputs()).numpy()[:, order], atol=1e-5)


def test_what_padding_holds_changes_nothing() -> None:
    layer, (members, mask) = built(induced(), inputs()), inputs()
    other = layer((other_padding(members, mask), mask)).numpy()
    np.testing.assert_allclose(other[mask], layer(inputs()).numpy()[mask], atol=1e-6)


def test_dropout_acts_in_training_only() -> None:
    layer = built(induced(dropout_rate=0.5), inputs())
    np.testing.assert_array_equal(layer(inputs()), layer(inputs(), training=False))
    assert np.abs(layer(inputs(), training=True) - layer(inputs())).max() > 1e-2


def test_contract(tmp_path: Path) -> None:
    layer = built(induced(), inputs())
    # The points and two blocks.
    assert len(layer.trainable_weights) == 1 + 2 * 12
    assert_meets_the_contract(induced, inputs(), tmp_path)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = induced(dropout_rate=0.25, name="induced")
    again = InducedSetAttention.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.num_points, again.num_heads, again.dropout_rate) == (3, 2, 0.25)


def test_there_must_be_a_point() -> None:
    with pytest.raises(ValueError, match="num_points must .*num_points=0"):
        induced(num_points=0)
