from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.retrieval.base import POOLINGS, HistoryPooling
from models.retrieval.two_tower import TwoTower
from tests.models.builders import relu, softmax
from tests.models.layers.contract import (
    assert_every_weight_learns,
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
    built,
    in_both_formats,
)
from tests.models.numpy_layers import dense
from tests.models.retrieval.inputs import item_inputs, user_inputs


@pytest.fixture
def towers() -> TwoTower:
    return TwoTower((4,), output_units=3, interest_units=2)


def test_a_field_of_every_name_reaches_its_tower(towers: TwoTower) -> None:
    users, items = user_inputs(), item_inputs()
    for inputs, encode in ((users, towers.user_vectors), (items, towers.item_vectors)):
        whole = encode(inputs).numpy()
        for name in set(inputs._fields) - {"history_mask"}:
            changed = encode(inputs._replace(**{name: getattr(inputs, name) + 1})).numpy()
            assert abs(changed - whole).max() > 1e-4, name


def test_padding_of_the_history_is_not_read(towers: TwoTower) -> None:
    users = user_inputs()
    padded = ~users.history_mask.numpy()[..., None]
    other = users._replace(history=users.history + 7.0 * padded)
    assert padded.any() and not padded.all()
    whole, changed = (towers.user_vectors(inputs).numpy() for inputs in (users, other))
    assert abs(whole - changed).max() < 1e-6


LENGTHS = (4, 1, 0)


def inputs() -> tuple[np.ndarray, np.ndarray]:
    """Histories of 4, 1 and 0 steps, padded in front with large numbers."""
    history = np.random.default_rng(0).normal(size=[3, 4, 5]).astype(np.float32)
    mask = np.arange(4) >= 4 - np.array(LENGTHS)[:, np.newaxis]
    history[~mask] = 50
    return history, mask


class TestHistoryPooling:
    @pytest.mark.parametrize("kind", POOLINGS)
    def test_interests_follow_the_formula(self, kind: str) -> None:
        history, mask = inputs()
        layer = built(HistoryPooling(3, kind), (history, mask))
        kernel, bias = dense(layer._projection)
        expected = np.zeros([3, 3])
        for user, length in enumerate(LENGTHS[:2]):
            steps = relu(history[user, 4 - length :] @ kernel + bias)
            weights = np.full([length], 1 / length)
            if kind == "attention":
                key_kernel, key_bias = dense(layer._key)
                (query,) = layer._query.get_weights()
                weights = softmax((np.tanh(steps @ key_kernel + key_bias) @ query)[:, 0])
            expected[user] = weights @ steps
        np.testing.assert_allclose(layer((history, mask)), expected, atol=1e-5)
        assert np.abs(expected[:2]).max() > 0.1

    def test_attention_is_not_the_mean(self) -> None:
        history, mask = inputs()
        attention, mean = built(HistoryPooling(3), (history, mask)), HistoryPooling(3, "mean")
        mean((history, mask))
        mean.set_weights(attention.get_weights()[:2])
        difference = np.abs(attention((history, mask)) - mean((history, mask))).max(axis=1)
        assert difference[0] > 1e-2
        # With one step there is nothing to weigh, and with none nothing at all.
        np.testing.assert_allclose(difference[1:], 0, atol=1e-6)

    @pytest.mark.parametrize("kind", POOLINGS)
    def test_every_history_stands_alone_and_every_weight_learns(self, kind: str) -> None:
        layer = built(HistoryPooling(3, kind), inputs())
        assert_rows_do_not_mix(layer, inputs())
        assert_every_weight_learns(layer, inputs())

    @in_both_formats
    @pytest.mark.parametrize("kind", POOLINGS)
    def test_it_survives_saving(self, kind: str, file: str, tmp_path: Path) -> None:
        assert_survives_saving(built(HistoryPooling(3, kind), inputs()), inputs(), tmp_path / file)

    def test_it_runs_in_mixed_precision(self) -> None:
        assert_runs_in_mixed_precision(lambda: HistoryPooling(3), inputs())

    def test_a_history_of_length_0_gives_zeros(self) -> None:
        history, mask = inputs()
        layer = built(HistoryPooling(3), (history, mask))
        np.testing.assert_array_equal(layer((history[:, :0], mask[:, :0])), np.zeros([3, 3]))

    def test_an_unknown_kind_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"attention.*mean.*Received: kind='sum'"):
            HistoryPooling(3, "sum")
