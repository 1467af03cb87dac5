from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from preprocessing.interactions.samples import Draws, UnseenItems
from preprocessing.interactions.sequences import UserSequences
from tests.preprocessing.interactions.made_interactions import interaction_table, sequences_of

ITEMS = [f"i{number:02}" for number in range(20)]


def sequences(**items_of_user: list[str]) -> UserSequences:
    rows = [
        (user, item, 5.0, time)
        for user, items in items_of_user.items()
        for time, item in enumerate(items)
    ]
    return sequences_of(interaction_table(*rows))


def unseen_items(
    log: UserSequences,
    weights: list[int] | list[list[int]] | None = None,
    items: list[str] = ITEMS,
    purpose: str = "test 0",
    known: np.ndarray | None = None,
    populations: list[int] | None = None,
) -> UnseenItems:
    """Draws for users who know the items of all their interactions, unless told otherwise."""
    return UnseenItems(
        pa.array(items, pa.string()),
        log,
        np.ones(len(log.item_of_row), dtype=bool) if known is None else known,
        purpose,
        None if weights is None else np.atleast_2d(weights),
        None if populations is None else np.array(populations),
        None if populations is None else np.sum(weights, axis=0),
    )


def draw(unseen: UnseenItems, users: list[int], positions: list[int], wanted: list[int]) -> Draws:
    return unseen.draw(*(np.array(numbers, np.int64) for numbers in (users, positions, wanted)))


def items_by_request(draws: Draws) -> dict[int, list[int]]:
    drawn: dict[int, list[int]] = {}
    for request, item in zip(draws.of.tolist(), draws.items.tolist(), strict=True):
        drawn.setdefault(request, []).append(item)
    return drawn


@pytest.mark.parametrize("weights", [None, list(range(1, 21))])
def test_drawn_items_are_distinct_and_new_to_the_user(weights):
    log = sequences(ann=ITEMS[:8], bob=ITEMS[5:18])
    unseen = unseen_items(log, weights)
    users, positions = [0] * 200 + [1] * 200, [*range(200)] * 2
    draws = draw(unseen, users, positions, [3] * 400)
    assert draws.missing == 0 and draws.of.tolist() == sorted([*range(400)] * 3)
    for request, items in items_by_request(draws).items():
        assert len(set(items)) == 3
        known = range(8) if users[request] == 0 else range(5, 18)
        assert not set(items) & set(known)


def test_a_draw_depends_on_seed_user_and_position_alone():
    log = sequences(ann=ITEMS[:2], bob=ITEMS[:2])
    both = unseen_items(log)
    alone = unseen_items(sequences(bob=ITEMS[:2]))
    expected = draw(both, [0, 1, 1], [4, 7, 9], [2, 4, 3]).items[2:6].tolist()
    assert draw(alone, [0], [7], [4]).items.tolist() == expected
    assert draw(both, [1], [7], [2]).items.tolist() == expected[:2]
    others = [
        draw(both, [1], [8], [4]),
        draw(both, [0], [7], [4]),
        draw(unseen_items(log, purpose="test 1"), [1], [7], [4]),
    ]
    assert all(other.items.tolist() != expected for other in others)


def test_uniform_draws_are_even_and_popular_ones_follow_the_counts():
    log = sequences(ann=["i00"])
    requests = 20_000
    everything = [0] * requests, [*range(requests)], [1] * requests
    even = draw(unseen_items(log), *everything)
    shares = np.bincount(even.items, minlength=20) / requests
    np.testing.assert_allclose(shares, [0] + [1 / 19] * 19, atol=0.006)
    counts = [50, 0, 10, 30, 60] + [0] * 15
    popular = draw(unseen_items(log, counts), *everything)
    shares = np.bincount(popular.items, minlength=20) / requests
    np.testing.assert_allclose(shares, [0, 0, 0.1, 0.3, 0.6] + [0] * 15, atol=0.012)


@pytest.mark.parametrize("weights", [None, [1, 9, 1, 1]])
def test_fewer_items_than_asked_for_are_all_drawn_and_the_rest_is_missing(weights):
    log = sequences(ann=["b", "c"], bob=list("abcd"))
    unseen = unseen_items(log, weights, list("abcd"))
    draws = draw(unseen, [0, 1, 0], [0, 1, 2], [5, 1, 1])
    drawn = items_by_request(draws)
    assert sorted(drawn[0]) == [0, 3] and 1 not in drawn and drawn[2][0] in (0, 3)
    assert draws.missing == 3 + 1


def test_what_is_left_of_a_long_list_is_drawn_evenly():
    items = [f"{number:04}" for number in range(3000)]
    known = [item for item in items if item not in ("0007", "1000", "2999")]
    unseen = unseen_items(sequences(ann=known), items=items)
    draws = draw(unseen, [0] * 600, [*range(600)], [1] * 600)
    assert draws.missing == 0
    counts = np.bincount(draws.items, minlength=3000)
    assert counts.sum() == counts[[7, 1000, 2999]].sum() == 600
    assert (counts[[7, 1000, 2999]] > 150).all()


def test_items_nobody_trained_on_are_not_popular():
    unseen = unseen_items(sequences(ann=["i00"]), [0] * 20)
    assert draw(unseen, [0], [0], [2]).missing == 2


def test_nothing_is_asked_for():
    unseen = unseen_items(sequences(ann=["i00"]))
    for draws in (draw(unseen, [0], [0], [0]), draw(unseen, [], [], [])):
        assert draws.missing == 0 and len(draws.items) == 0
    nobody = unseen_items(sequences(), items=[])
    assert draw(nobody, [], [], []).missing == 0


@pytest.mark.parametrize("weights", [None, [1] * 20])
def test_items_met_later_are_drawn_like_all_others(weights):
    log = sequences(ann=ITEMS[:12])
    known = log.positions < 2
    unseen = unseen_items(log, weights, known=known)
    draws = draw(unseen, [0] * 9000, [*range(9000)], [1] * 9000)
    shares = np.bincount(draws.items, minlength=20) / 9000
    np.testing.assert_allclose(shares, [0, 0] + [1 / 18] * 18, atol=0.01)


def test_a_user_who_knows_nothing_may_draw_everything():
    log = sequences(ann=["i00"])
    unseen = unseen_items(log, known=np.zeros(1, dtype=bool))
    draws = draw(unseen, [0], [0], [25])
    assert sorted(draws.items.tolist()) == list(range(20)) and draws.missing == 5


@pytest.mark.parametrize(
    ("weights", "left"), [(None, 15), ([0, 3] * 10, 8)]
)  # odd ones from i05 on
def test_a_request_for_far_too_many_items_needs_no_more_memory_than_there_are(weights, left):
    log = sequences(ann=ITEMS[:5], bob=ITEMS)
    unseen = unseen_items(log, weights)
    enough, far_too_many = [20, 20, 3], [10**12, 10**12, 3]
    expected = draw(unseen, [0, 1, 0], [0, 0, 1], enough)
    draws = draw(unseen, [0, 1, 0], [0, 0, 1], far_too_many)
    assert draws.items.tolist() == expected.items.tolist()
    assert draws.of.tolist() == expected.of.tolist()
    assert draws.missing == 2 * 10**12 - left


def test_each_population_draws_by_its_own_weights_then_from_the_reserve():
    log = sequences(ann=["i00"], bob=["i19"])
    weights = [[5, 1, 3] + [0] * 17, [0] * 17 + [2, 1, 7]]
    unseen = unseen_items(log, weights, populations=[0, 1])
    draws = draw(unseen, [0] * 8000 + [1] * 8000, [*range(8000)] * 2, [1] * 16_000)
    shares = [
        np.bincount(draws.items[half], minlength=20) / 8000
        for half in np.split(np.arange(16_000), 2)
    ]
    np.testing.assert_allclose(shares[0], [0, 0.25, 0.75] + [0] * 17, atol=0.02)
    np.testing.assert_allclose(shares[1], [0] * 17 + [2 / 3, 1 / 3, 0], atol=0.02)
    more = draw(unseen, [0] * 500, [*range(500)], [3] * 500)
    drawn = items_by_request(more)
    assert more.missing == 0 and all({1, 2} < set(items) for items in drawn.values())
    third = Counter(items[2] for items in drawn.values())
    np.testing.assert_allclose([third[17], third[18], third[19]], [100, 50, 350], atol=45)
    # Five items have a weight at all, and each user knows one of them.
    assert draw(unseen, [0, 1], [0, 0], [9, 9]).missing == 2 * (9 - 5)
