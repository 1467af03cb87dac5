from __future__ import annotations

import numpy as np
import pyarrow as pa

from configs.data import RerankLists
from preprocessing.interactions.samples import (
    SAMPLED,
    CandidateLists,
    Candidates,
    UnseenItems,
    ids_of,
    interactions_alone,
    rerank_lists,
    with_negatives,
)
from preprocessing.interactions.sequences import UserSequences
from tests.preprocessing.interactions.made_interactions import interaction_table, sequences_of

UNIVERSE = pa.array([f"i{number:02}" for number in range(40)])


def log() -> UserSequences:
    """ann: i00 .. i09 (rows 0 to 9), bob: i05 .. i07 (rows 10 to 12); odd items are liked."""
    rows = [("ann", f"i{item:02}", 4.0 + item % 2 - 0.5, item) for item in range(10)]
    rows += [("bob", f"i{item:02}", 4.0 + item % 2 - 0.5, item) for item in (5, 6, 7)]
    return sequences_of(interaction_table(*rows))


def ids(candidates: Candidates, sequences: UserSequences) -> list[str]:
    values, index = ids_of(candidates, sequences, UNIVERSE)
    return [values[item] for item in index]


def drawn_from(universe: pa.Array, sequences: UserSequences) -> UnseenItems:
    known = np.ones(len(sequences.item_of_row), dtype=bool)
    return UnseenItems(universe, sequences, known, "test 0")


def unseen(sequences: UserSequences) -> UnseenItems:
    return drawn_from(UNIVERSE, sequences)


def test_interactions_alone_are_their_own_candidates():
    sequences, rows = log(), np.array([11, 2])
    candidates = interactions_alone(sequences, rows)
    assert candidates.rows.tolist() == [11, 2]
    assert ids(candidates, sequences) == ["i06", "i02"]


def test_negatives_follow_their_positive():
    sequences = log()
    rows = np.array([2, 3, 12])
    history_rows, candidates, missing = with_negatives(sequences, rows, unseen(sequences), 2)
    assert missing == 0
    assert history_rows.tolist() == [2, 3, 3, 3, 12, 12, 12]
    assert candidates.rows.tolist() == [2, 3, SAMPLED, SAMPLED, 12, SAMPLED, SAMPLED]
    found = ids(candidates, sequences)
    assert (found[0], found[1], found[4]) == ("i02", "i03", "i07")
    assert len({*found[2:4]}) == 2 and all(item >= "i10" for item in found[2:4])
    assert not {*found[5:]} & {"i05", "i06", "i07"}


def listed(lists: CandidateLists, sequences: UserSequences) -> list[list[str]]:
    found = ids(lists.candidates, sequences)
    return [found[start:end] for start, end in zip(lists.starts, lists.ends, strict=True)]


def test_windows_hold_consecutive_samples_of_one_user():
    sequences, settings = log(), RerankLists(window=3, length=5)
    rows = np.array([1, 2, 4, 5, 6, 7, 8, 11, 12])
    lists = rerank_lists(sequences, rows, unseen(sequences), settings)
    assert lists.first_rows.tolist() == [1, 5, 8, 11]
    assert lists.missing == 0
    windows = [{"i01", "i02", "i04"}, {"i05", "i06", "i07"}, {"i08"}, {"i06", "i07"}]
    for found, window in zip(listed(lists, sequences), windows, strict=True):
        assert len(found) == len(set(found)) == 5 and window < set(found)
        user_items = {"i05", "i06", "i07"} if "i06" in window and len(window) == 2 else set()
        user_items = user_items or {f"i{item:02}" for item in range(10)}
        assert not (set(found) - window) & user_items
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
    sequences = log()
    few = pa.array([f"i{number:02}" for number in range(11)])
    lists = rerank_lists(sequences, np.arange(10), drawn_from(few, sequences), RerankLists())
    assert (lists.ends - lists.starts).tolist() == [5, 5, 3]
    assert lists.missing == 5 + 5 + 7


def test_no_samples_give_no_lists():
    sequences = log()
    lists = rerank_lists(sequences, np.zeros(0, int), unseen(sequences), RerankLists())
    assert len(lists.first_rows) == len(lists.candidates.rows) == lists.missing == 0
