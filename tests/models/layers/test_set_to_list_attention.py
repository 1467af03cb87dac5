from __future__ import annotations

from pathlib import Path

import numpy as np

from models.layers.set_attention import SetToListAttention
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
)
from tests.models.layers.sets import SETS, SIZE, normal, other_padding, set_mask
from tests.models.numpy_set_to_list import numpy_set_to_list

STEPS, OF_SET, OF_LIST = 4, 6, 5
Inputs = tuple[np.ndarray, ...]


def inputs() -> Inputs:
    """Sets of 5, 3, 1 and 0 candidates, lists of 4, 3, 0 and 1 steps."""
    steps_mask = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=bool)
    return (
        normal(SETS, SIZE, OF_SET),
        set_mask(),
        normal(SETS, STEPS, OF_LIST, seed=1),
        steps_mask,
        normal(SETS, SIZE, STEPS, seed=2),
        1 + np.random.default_rng(3).uniform(size=[SETS, SIZE, STEPS]).astype(np.float32),
    )


def test_outputs_follow_the_formula() -> None:
    layer = built(SetToListAttention(), inputs())
    members, mask, steps, steps_mask, features, decay = inputs()
    outputs = layer(inputs()).numpy()
    assert outputs.shape == (SETS, SIZE, OF_SET + OF_LIST)
    for row in range(SETS):
        real, taken = mask[row], steps_mask[row]
        expected = numpy_set_to_list(
            layer,
            members[row][real],
            steps[row][taken],
            features[row][real][:, taken],
            decay[row][real][:, taken],
        )
        np.testing.assert_allclose(outputs[row][real], expected, atol=1e-5)


def test_a_permutation_permutes_the_output() -> None:
    layer, order = built(SetToListAttention(), inputs()), [2, 0, 4, 1, 3]
    members, mask, steps, steps_mask, features, decay = inputs()
    permuted = layer(
        (members[:, order], mask[:, order], steps, steps_mask, features[:, order], decay[:, order])
    )
    np.testing.assert_allclose(permuted, layer(inputs()).numpy()[:, order], atol=1e-5)


def test_what_padding_holds_changes_nothing() -> None:
    layer = built(SetToListAttention(), inputs())
    members, mask, steps, steps_mask, features, decay = inputs()
    pairs = mask[:, :, np.newaxis] & steps_mask[:, np.newaxis]
    other = layer(
        (
            other_padding(members, mask),
            mask,
            other_padding(steps, steps_mask),
            steps_mask,
            other_padding(features, pairs),
            other_padding(decay, pairs),
        )
    ).numpy()
    np.testing.assert_allclose(other[mask], layer(inputs()).numpy()[mask], atol=1e-5)


def test_without_a_list_its_half_is_zero() -> None:
    layer = built(SetToListAttention(), inputs())
    members, mask, steps, steps_mask, features, decay = inputs()
    cut = (members, mask, steps[:, :0], steps_mask[:, :0], features[:, :, :0], decay[:, :, :0])
    for outputs in (layer(cut), layer((members, mask, steps, steps_mask & False, features, decay))):
        np.testing.assert_array_equal(outputs[:, :, OF_SET:], np.zeros([SETS, SIZE, OF_LIST]))
        assert np.isfinite(outputs).all()
        assert np.abs(outputs[0]).max() > 0.1


def test_contract(tmp_path: Path) -> None:
    layer = built(SetToListAttention(), inputs())
    assert len(layer.trainable_weights) == 3
    assert_every_weight_learns(layer, inputs())
    assert_rows_do_not_mix(layer, inputs())
    assert_survives_saving(layer, inputs(), tmp_path)
    assert_runs_in_mixed_precision(SetToListAttention, inputs())
