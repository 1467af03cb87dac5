from __future__ import annotations

import pytest

from models.retrieval.two_tower import TwoTower
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
