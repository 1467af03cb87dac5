from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.data import Data, RerankLists
from preprocessing.interactions.catalogue import ProfileColumns
from preprocessing.interactions.samples import (
    SAMPLED,
    CandidateLists,
    Candidates,
    Draws,
    UnseenItems,
    UserColumns,
    ctr_columns,
    ids_of,
    interactions_alone,
    needs_universe,
    rerank_columns,
    rerank_lists,
    retrieval_columns,
    user_folds,
    with_negatives,
)
from preprocessing.interactions.sequences import UserSequences
from preprocessing.records.contract import (
    EXAMPLE_FEATURES,
    FEATURES_OF_KIND,
    RERANK_FEATURES,
    RETRIEVAL_FEATURES,
)
from preprocessing.records.wire import Column, encode_examples
from tests.example_records import values_of
from tests.preprocessing.interactions.synthetic_interactions import interaction_table, sequences_of

UNIVERSE = pa.array(["1", "2", "3", "8", "9"])


def log() -> UserSequences:
    return sequences_of(
        interaction_table(
            ("a", "1", 5.0, 1), ("a", "2", 1.0, 2), ("a", "3", 4.0, 3), ("b", "1", 2.0, 1)
        )
    )


def user_columns(sequences: UserSequences, history_length: int = 1) -> UserColumns:
    no_profiles = ProfileColumns(pa.table({"user": pa.array([], pa.string())}), sequences.users, {})
    return UserColumns(sequences, history_length, no_profiles)


def decoded(columns: Mapping[str, Column]) -> list[dict[str, list]]:
    return list(map(values_of, encode_examples(columns)))


def names(features: tuple) -> list[str]:
    return [feature.name for feature in features]


def test_examples_follow_the_order_of_their_numbers():
    sequences = log()
    rows = np.array([0, 2, 3])
    columns = ctr_columns(
        user_columns(sequences), sequences, rows, interactions_alone(sequences, rows), None
    )
    assert len(columns) == 3
    assert list(columns.of(np.array([0]))) == names(EXAMPLE_FEATURES)
    examples = decoded(columns.of(np.array([2, 1, 0])))
    assert [example["user_id"] for example in examples] == [[b"b"], [b"a"], [b"a"]]
    assert [example["item_id"] for example in examples] == [[b"1"], [b"3"], [b"1"]]
    assert [example["history_item_id"] for example in examples] == [[], [b"2"], []]
    assert [example["history_rating"] for example in examples] == [[], [1.0], []]
    assert [example["label"] for example in examples] == [[0.0], [1.0], [1.0]]
    assert [example["user_share_liked"] for example in examples] == [[0.0], [0.5], [0.0]]
    assert [example["user_mean_rating"] for example in examples] == [[0.0], [3.0], [0.0]]
    assert [example["timestamp"] for example in examples] == [[1], [3], [1]]
    assert [example["position"] for example in examples] == [[0], [2], [0]]


def test_means_of_a_user_know_nothing_of_the_sizes_of_others_ratings():
    sequences = sequences_of(
        interaction_table(
            *(("a", str(place), rating, place) for place, rating in enumerate([1e17, -1e17, 3.0])),
            *(
                ("b", str(place), rating, place)
                for place, rating in enumerate([4.0, 2.0, 5.0, 3.0])
            ),
        )
    )
    rows = np.arange(7)
    columns = ctr_columns(
        user_columns(sequences), sequences, rows, interactions_alone(sequences, rows), None
    )
    (means,) = zip(*(each["user_mean_rating"] for each in decoded(columns.of(rows))), strict=True)
    expected = np.float32([0, 1e17, 0, 0, 4, 3, 11 / 3])
    np.testing.assert_array_equal(np.float32(means), expected)


def test_a_sampled_negative_shares_everything_but_item_label_and_rating():
    sequences = log()
    candidates = Candidates(rows=np.array([2, SAMPLED, SAMPLED]), items=np.array([2, 4, 3]))
    history_rows = np.array([2, 2, 2])
    columns = ctr_columns(user_columns(sequences), sequences, history_rows, candidates, UNIVERSE)
    real, *sampled = decoded(columns.of(np.arange(3)))
    assert (real["item_id"], real["label"], real["rating"]) == ([b"3"], [1.0], [4.0])
    for example, item in zip(sampled, (b"9", b"8"), strict=True):
        assert example == {**real, "item_id": [item], "label": [0.0], "rating": [0.0]}


def test_lists_of_candidates_start_from_their_first_interaction():
    sequences = log()
    lists = CandidateLists(
        first_rows=np.array([1, 3]),
        starts=np.array([0, 3]),
        ends=np.array([3, 4]),
        candidates=Candidates(rows=np.array([SAMPLED, 2, 1, 3]), items=np.array([4, 2, 1, 0])),
        missing=RerankLists().length,
    )
    columns = rerank_columns(user_columns(sequences), sequences, lists, UNIVERSE)
    assert len(columns) == 2
    assert list(columns.of(np.array([0]))) == names(RERANK_FEATURES)
    second, first = decoded(columns.of(np.array([1, 0])))
    assert first["item_id"] == [b"9", b"3", b"2"]
    assert first["label"] == [0.0, 1.0, 0.0] and first["rating"] == [0.0, 4.0, 1.0]
    assert first["history_item_id"] == [b"1"] and first["user_share_liked"] == [1.0]
    assert first["position"] == [1] and first["timestamp"] == [2]
    assert second["item_id"] == [b"1"] and second["user_id"] == [b"b"]


def test_retrieval_examples_name_an_item_and_no_label():
    sequences = log()
    columns = retrieval_columns(user_columns(sequences), sequences, np.array([0, 2]))
    assert len(columns) == 2
    assert list(columns.of(np.array([0]))) == names(RETRIEVAL_FEATURES)
    (example,) = decoded(columns.of(np.array([1])))
    assert example["item_id"] == [b"3"] and example["history_item_id"] == [b"2"]


def test_every_kind_of_example_has_the_features_of_its_contract():
    assert set(FEATURES_OF_KIND) == {"ctr", "rerank", "retrieval"}
    for features in FEATURES_OF_KIND.values():
        assert len(set(names(features))) == len(features)


def test_folds_are_even_and_never_change():
    folds = user_folds([str(user) for user in range(5000)])
    assert folds.min() == 0 and folds.max() == 9
    assert np.bincount(folds).min() > 400
    # blake2b-64 of the id under the key "fold", modulo 10, written down once
    assert user_folds(["1", "2", "ann", "Größe"]).tolist() == [2, 5, 8, 7]


def data(**settings: object) -> Data:
    tree = {"interactions": {"path": "i.csv"}, "catalogue": {"path": "c.csv"}}
    return Data.model_validate({**tree, **settings})


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, False),
        ({"negatives": {"per_positive": 1}}, True),
        ({"negatives": {"per_positive": 1}, "examples": ["retrieval"]}, False),
        ({"examples": ["ctr", "rerank"]}, True),
    ],
)
def test_only_sampled_items_need_a_universe(settings, needed):
    assert needs_universe(data(**settings)) == needed


FORTY_ITEMS = pa.array([f"i{number:02}" for number in range(40)])


def long_log() -> UserSequences:
    """ann: i00 .. i09 (rows 0 to 9), bob: i05 .. i07 (rows 10 to 12); odd items are liked."""
    rows = [("ann", f"i{item:02}", 4.0 + item % 2 - 0.5, item) for item in range(10)]
    rows += [("bob", f"i{item:02}", 4.0 + item % 2 - 0.5, item) for item in (5, 6, 7)]
    return sequences_of(interaction_table(*rows))


def ids(candidates: Candidates, sequences: UserSequences) -> list[str]:
    values, index = ids_of(candidates, sequences, FORTY_ITEMS)
    return [values[item] for item in index]


def drawn_from(universe: pa.Array, sequences: UserSequences) -> UnseenItems:
    known = np.ones(len(sequences.item_of_row), dtype=bool)
    return UnseenItems(universe, sequences, known, "test 0")


def unseen(sequences: UserSequences) -> UnseenItems:
    return drawn_from(FORTY_ITEMS, sequences)


def test_interactions_alone_are_their_own_candidates():
    sequences, rows = long_log(), np.array([11, 2])
    candidates = interactions_alone(sequences, rows)
    assert candidates.rows.tolist() == [11, 2]
    assert ids(candidates, sequences) == ["i06", "i02"]


def test_negatives_follow_their_positive():
    sequences = long_log()
    rows = np.array([2, 3, 12])
    history_rows, candidates, missing = with_negatives(sequences, rows, unseen(sequences), 2)
    assert missing == 0
    assert history_rows.tolist() == [2, 3, 3, 3, 12, 12, 12]
    assert candidates.rows.tolist() == [2, 3, SAMPLED, SAMPLED, 12, SAMPLED, SAMPLED]
    actual = ids(candidates, sequences)
    assert (actual[0], actual[1], actual[4]) == ("i02", "i03", "i07")
    assert len({*actual[2:4]}) == 2 and all(item >= "i10" for item in actual[2:4])
    assert not {*actual[5:]} & {"i05", "i06", "i07"}


def listed(lists: CandidateLists, sequences: UserSequences) -> list[list[str]]:
    collected = ids(lists.candidates, sequences)
    return [collected[start:end] for start, end in zip(lists.starts, lists.ends, strict=True)]


def test_windows_hold_consecutive_samples_of_one_user():
    sequences, settings = long_log(), RerankLists(window=3, length=5)
    rows = np.array([1, 2, 4, 5, 6, 7, 8, 11, 12])
    lists = rerank_lists(sequences, rows, unseen(sequences), settings)
    assert lists.first_rows.tolist() == [1, 5, 8, 11]
    assert lists.missing == 0
    windows = [{"i01", "i02", "i04"}, {"i05", "i06", "i07"}, {"i08"}, {"i06", "i07"}]
    for each, window in zip(listed(lists, sequences), windows, strict=True):
        assert len(each) == len(set(each)) == 5 and window < set(each)
        user_items = {"i05", "i06", "i07"} if "i06" in window and len(window) == 2 else set()
        user_items = user_items or {f"i{item:02}" for item in range(10)}
        assert not (set(each) - window) & user_items
    is_real = lists.candidates.rows != SAMPLED
    assert sorted(lists.candidates.rows[is_real].tolist()) == rows.tolist()


def test_lists_are_shuffled_in_the_same_way_each_time():
    rows = [("u", f"i{item:02}", 5.0, item) for item in range(20)]
    sequences = sequences_of(interaction_table(*rows))
    settings = RerankLists(window=4, length=10)
    first = rerank_lists(sequences, np.arange(20), unseen(sequences), settings)
    again = rerank_lists(sequences, np.arange(20), unseen(sequences), settings)
    assert listed(first, sequences) == listed(again, sequences)
    places = np.flatnonzero(first.candidates.rows != SAMPLED) % 10
    assert len(set(places.tolist())) > 5
    other = RerankLists(window=4, length=10, seed=1)
    shuffled = rerank_lists(sequences, np.arange(20), unseen(sequences), other)
    assert listed(shuffled, sequences) != listed(first, sequences)
    assert [*map(set, listed(shuffled, sequences))] == [*map(set, listed(first, sequences))]


def test_lists_stay_short_when_items_run_out():
    sequences = long_log()
    few = pa.array([f"i{number:02}" for number in range(11)])
    lists = rerank_lists(sequences, np.arange(10), drawn_from(few, sequences), RerankLists())
    assert (lists.ends - lists.starts).tolist() == [5, 5, 3]
    assert lists.missing == 5 + 5 + 7


def test_no_samples_give_no_lists():
    sequences = long_log()
    lists = rerank_lists(sequences, np.zeros(0, int), unseen(sequences), RerankLists())
    assert len(lists.first_rows) == len(lists.candidates.rows) == lists.missing == 0


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
        None if populations is None else np.array(populations, np.int64),
        None if populations is None else np.sum(weights, axis=0),
    )


def draw(unseen: UnseenItems, users: list[int], positions: list[int], wanted: list[int]) -> Draws:
    return unseen.draw(*(np.array(numbers, np.int64) for numbers in (users, positions, wanted)))


def items_by_request(draws: Draws) -> dict[int, list[int]]:
    drawn: dict[int, list[int]] = {}
    for request, item in zip(draws.requests.tolist(), draws.items.tolist(), strict=True):
        drawn.setdefault(request, []).append(item)
    return drawn


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


def test_what_is_left_of_a_long_list_is_drawn_evenly():
    items = [f"{number:04}" for number in range(3000)]
    known = [item for item in items if item not in ("0007", "1000", "2999")]
    unseen = unseen_items(sequences(ann=known), items=items)
    draws = draw(unseen, [0] * 600, [*range(600)], [1] * 600)
    assert draws.missing == 0
    counts = np.bincount(draws.items, minlength=3000)
    assert counts.sum() == counts[[7, 1000, 2999]].sum() == 600
    assert (counts[[7, 1000, 2999]] > 150).all()


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A log, which of it users know, weights of one or two populations, and what is asked for."""
    items = ITEMS[: draw(st.integers(0, 12))]
    user = st.lists(st.sampled_from(items or ITEMS), min_size=1, max_size=9)
    users = draw(st.lists(user, max_size=3 if items else 0))
    log = sequences(**{f"user{number}": row for number, row in enumerate(users)})
    rows = len(log.item_of_row)
    populations = draw(st.integers(0, 2))
    weight = st.lists(st.integers(0, 3), min_size=len(items), max_size=len(items))
    asked = st.tuples(
        st.integers(0, max(len(users) - 1, 0)), st.integers(0, 50), st.integers(0, 14)
    )
    return {
        "log": log,
        "items": items,
        "known": np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), bool),
        "weights": [draw(weight) for _ in range(populations)] or None,
        "populations": [user % populations for user in range(len(users))] if populations else None,
    } | {"asked": draw(st.lists(asked, max_size=5 if users else 0))}


@given(requests())
def test_as_many_distinct_items_new_to_the_user_are_drawn_as_there_are(drawn) -> None:
    asked = drawn.pop("asked")
    log, items, known, weights = (drawn[key] for key in ("log", "items", "known", "weights"))
    unseen = unseen_items(**drawn)
    draws = draw(unseen, *([row[column] for row in asked] for column in range(3)))
    drawable = np.ones(len(items), bool) if weights is None else np.sum(weights, axis=0) > 0
    missing = 0
    for request, (user, _, wanted) in enumerate(asked):
        user_rows = (log.user_of_row == user) & known
        met = {log.item_ids[item] for item in log.item_of_row[user_rows]}
        left = {n for n, item in enumerate(items) if drawable[n] and item not in met}
        chosen = draws.items[draws.requests == request].tolist()
        assert len(chosen) == len(set(chosen)) == min(wanted, len(left)) and set(chosen) <= left
        if weights is not None:
            own = {n for n in left if weights[drawn["populations"][user]][n]}
            first = chosen[: len(own)]  # the reserve comes after the user's own population
            assert set(first) <= own
        missing += wanted - len(chosen)
    assert draws.missing == missing
    assert draws.requests.tolist() == sorted(draws.requests.tolist())
    assert draw(
        unseen, *([row[column] for row in asked] for column in range(3))
    ).items.tolist() == (draws.items.tolist())


@pytest.mark.parametrize("weights", [None, [1] * 20])
def test_items_met_later_are_drawn_like_all_others(weights):
    log = sequences(ann=ITEMS[:12])
    known = log.positions < 2
    unseen = unseen_items(log, weights, known=known)
    draws = draw(unseen, [0] * 9000, [*range(9000)], [1] * 9000)
    shares = np.bincount(draws.items, minlength=20) / 9000
    np.testing.assert_allclose(shares, [0, 0] + [1 / 18] * 18, atol=0.01)


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
    assert draws.requests.tolist() == expected.requests.tolist()
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
