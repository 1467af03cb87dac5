from __future__ import annotations

import dataclasses
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from configs.data import InteractionColumns, Split
from preprocessing.interactions.reading import INTERACTION_SCHEMA
from preprocessing.interactions.sequences import (
    HISTORY_ONLY,
    TRAIN,
    count_sample_hours,
    order_interactions,
    ordered_by,
    split_interactions,
    time_cuts,
    without_repeated,
)
from tests.preprocessing.interactions.synthetic_interactions import (
    changed,
    counted_sequences,
    interaction_table,
    sequences_of,
)

ROWS = [
    ("u2", "10", 1.0, 5),
    ("u10", "9", 2.0, 5),
    ("u2", "9", 3.0, 5),
    ("u2", "9", 3.5, 5),
    ("u2", "2", 4.0, -1),
    ("u2", "9", 4.5, 5),
]


def test_order_is_outcomes_time_and_number_of_the_item():
    sequences, dead_letters = order_interactions(
        interaction_table(*ROWS), ["file.csv"], integer_items=True
    )
    rows = np.arange(4)
    assert sequences.users == ["u10", "u2"]
    assert sequences.items_at(rows) == ["9", "2", "9", "10"]
    assert sequences.item_ids == ["10", "2", "9"]
    assert sequences.ratings.tolist() == [2.0, 4.0, 3.0, 1.0]
    assert sequences.labels.tolist() == [0, 1, 0, 0]
    assert sequences.timestamps.tolist() == [5, -1, 5, 5]
    assert sequences.user_of_row.tolist() == [0, 1, 1, 1]
    assert sequences.starts.tolist() == [0, 1]
    assert sequences.counts.tolist() == [1, 3]
    assert sequences.positions.tolist() == [0, 0, 1, 2]
    assert [(letter["line"], letter["detail"]) for letter in dead_letters] == [
        (5, "same user, item and time as line 4"),
        (7, "same user, item and time as line 4"),
    ]


def test_an_order_column_goes_before_the_time():
    table = interaction_table(("u", "a", 1.0, 30), ("u", "b", 2.0, 20), ("u", "a", 3.0, 10))
    table = changed(table, order=[1.5, 0.5, 1.5])
    sequences, dead_letters = order_interactions(table, ["f"], False, order="order")
    assert sequences.items_at(np.arange(2)) == ["b", "a"]
    assert sequences.timestamps.tolist() == [20, 30]
    assert dead_letters[0]["detail"] == "same user, item and order as line 2"


def test_without_time_and_order_rows_keep_their_order_and_none_is_a_repetition():
    rows = [("u", "b", 1.0, 0), ("u", "a", 2.0, 0), ("u", "b", 3.0, 0), ("t", "b", 4.0, 0)]
    table = changed(interaction_table(*rows), file=[1, 0, 0, 0], line=[2, 9, 3, 4])
    sequences, dead_letters = order_interactions(table, ["f", "g"], True, order=None)
    assert sequences.ratings.tolist() == [4.0, 3.0, 2.0, 1.0]
    assert dead_letters == []


def test_a_repetition_in_another_file_names_the_file():
    table = changed(
        interaction_table(("u", "a", 1.0, 5), ("u", "a", 2.0, 5)), file=[1, 0], line=[2, 7]
    )
    sequences, (letter,) = order_interactions(table, ["one.csv", "two.csv"], integer_items=False)
    assert sequences.ratings.tolist() == [2.0]
    assert (letter["file"], letter["line"]) == ("two.csv", 2)
    assert letter["detail"] == "same user, item and time as line 7 of one.csv"


def test_without_time_and_order_no_row_of_the_table_is_a_repetition():
    assert without_repeated(interaction_table(*ROWS), ["f"], None)[0].num_rows == 6


def test_no_interactions():
    sequences, dead_letters = order_interactions(
        INTERACTION_SCHEMA.empty_table(), ["f"], integer_items=True
    )
    assert sequences.users == [] and sequences.item_ids == [] and dead_letters == []
    assert len(sequences.positions) == 0


INTERACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["u2", "u10", "ü", ""]),
        st.sampled_from(["7", "07", "10", "-3"]),
        st.integers(-2, 2),
        st.integers(0, 1),
    ),
    max_size=25,
)


@given(INTERACTIONS, st.booleans(), st.randoms(use_true_random=False))
def test_order_and_repetitions_are_those_of_sorted_rows(rows, integer_items, random) -> None:
    lines = random.sample(range(100), len(rows))
    table = changed(
        interaction_table(*((user, item, 1.0, time) for user, item, time, _ in rows)),
        rating=[float(line) for line in lines],
        file=[file for *_, file in rows],
        line=lines,
    )

    def key(row: tuple[tuple[str, str, int, int], int]) -> tuple:
        (user, item, time, file), line = row
        return user.encode(), time, int(item) if integer_items else 0, item, file, line

    kept, repeated, met = [], [], set()
    for row in sorted(zip(rows, lines, strict=True), key=key):
        (kept if row[0][:3] not in met else repeated).append(row)
        met.add(row[0][:3])
    sequences, dead_letters = order_interactions(table, ["f", "g"], integer_items)
    assert sequences.ratings.tolist() == [line for _, line in kept]
    assert sequences.items_at(np.arange(len(kept))) == [row[1] for row, _ in kept]
    assert [sequences.users[user] for user in sequences.user_of_row] == [row[0] for row, _ in kept]
    users = [row[0] for row, _ in kept]
    assert sequences.positions.tolist() == [users[:n].count(user) for n, user in enumerate(users)]
    assert [(letter["file"], letter["line"]) for letter in dead_letters] == [
        ("fg"[row[3]], line) for row, line in repeated
    ]
    alone, letters = without_repeated(table, ["f", "g"], "time")
    assert alone["user"].to_pylist() == users
    assert sorted(alone["line"].to_pylist()) == sorted(line for _, line in kept)
    assert sorted(letter["line"] for letter in letters) == sorted(line for _, line in repeated)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [({}, "time"), ({"order": "n"}, "order"), ({"timestamp": None}, None),
     ({"timestamp": None, "order": "n"}, "order")],
)  # fmt: skip
def test_what_orders_follows_from_the_columns(columns, expected):
    assert ordered_by(InteractionColumns(**columns)) == expected


@st.composite
def fractions(draw: st.DrawFn) -> tuple[float, float, float]:
    train = draw(st.integers(1, 98))
    validation = draw(st.integers(1, 99 - train))
    return train / 100, validation / 100, (100 - train - validation) / 100


COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(COUNTS, st.integers(0, 12), fractions())
@example([10, 30, 45], 0, (0.8, 0.1, 0.1))  # halves: 0.8 of 45 is 36, 0.9 of it 40.5
@example([1, 2, 3, 4, 58, 59, 60, 61, 1000], 30, (0.8, 0.1, 0.1))
def test_the_time_split_rounds_halves_up_behind_what_the_llm_saw(counts, cap, shares) -> None:
    split = split_interactions(
        counted_sequences(counts), Split(fractions=shares, knowledge_history_cap=cap)
    )
    ends = [Fraction(str(shares[0])), Fraction(str(shares[0])) + Fraction(str(shares[1]))]
    seen, parts, training = [], [], []
    for count in counts:
        seen.append(min((count + 1) // 2, cap))
        samples = count - seen[-1]
        train, validation = (math.floor(end * samples + Fraction(1, 2)) for end in ends)
        parts += [-1] * seen[-1] + [0] * train + [1] * (validation - train)
        parts += [2] * (samples - validation)
        training += [place < seen[-1] + train for place in range(count)]
    assert split.boundaries.tolist() == seen
    assert split.parts.tolist() == parts
    assert split.training.tolist() == training


@given(COUNTS, st.integers(0, 12), st.data())
def test_every_split_parts_what_the_llm_did_not_see(counts, cap, data) -> None:
    sequences = counted_sequences(counts)
    rows = len(sequences.positions)
    given_parts = data.draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    sequences = dataclasses.replace(sequences, given_parts=np.array(given_parts, np.int8))
    cuts = sorted((data.draw(st.integers(0, rows)), data.draw(st.integers(0, rows))))
    outcomes = {}
    for by in ("time", "user", "global_time", "column"):
        settings = Split(by=by, knowledge_history_cap=cap)
        split = split_interactions(sequences, settings, (cuts[0], cuts[1]))
        is_sample = (
            sequences.positions
            >= np.minimum((sequences.counts + 1) // 2, cap)[sequences.user_of_row]
        )
        assert ((split.parts == HISTORY_ONLY) == ~is_sample).all()
        assert (split.training[is_sample] == (split.parts[is_sample] == TRAIN)).all()
        outcomes[by] = split.parts, is_sample, split.training
    parts, is_sample, _ = outcomes["user"]
    for user in range(len(counts)):
        assert len(set(parts[is_sample & (sequences.user_of_row == user)])) <= 1
    for by, expected in (
        ("global_time", np.searchsorted(cuts, sequences.timestamps, side="right")),
        ("column", sequences.given_parts),
    ):
        parts, is_sample, training = outcomes[by]
        assert parts[is_sample].tolist() == expected[is_sample].tolist()
        assert training.tolist() == (expected == TRAIN).tolist()


def test_the_user_split_gives_users_their_shares():
    sequences = counted_sequences([4] * 3000)
    split = split_interactions(sequences, Split(by="user", fractions=(0.6, 0.3, 0.1)))
    parts = split.parts.reshape(3000, 4)
    assert (parts[:, :2] == -1).all()
    assert (parts[:, 2] == parts[:, 3]).all()
    shares = np.bincount(parts[:, 3], minlength=3) / 3000
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=0.03)
    assert split.training.reshape(3000, 4).all(axis=1).tolist() == (parts[:, 3] == 0).tolist()
    other_seed = split_interactions(sequences, Split(by="user", fractions=(0.6, 0.3, 0.1), seed=1))
    assert (other_seed.parts != split.parts).any()


def test_the_global_time_split_needs_cuts():
    with pytest.raises(ValueError, match="needs cuts"):
        split_interactions(counted_sequences([3]), Split(by="global_time"))


HOUR = 3600


def test_only_samples_are_counted_by_their_hour():
    rows = [("u", "a", 5.0, -1), ("u", "b", 5.0, HOUR - 1), ("u", "c", 5.0, HOUR)]
    rows += [("u", "d", 5.0, HOUR + 5), ("one", "a", 5.0, HOUR)]
    sequences = sequences_of(interaction_table(*rows))
    # k_u is 2 for u and 1 for one
    assert count_sample_hours(sequences, Split()) == {1: 2}
    assert count_sample_hours(sequences, Split(knowledge_history_cap=0)) == {-1: 1, 0: 1, 1: 3}
    assert count_sample_hours(sequences_of(interaction_table()), Split()) == Counter()


def test_one_hour_is_all_training_and_no_samples_give_no_cuts():
    assert time_cuts({-2: 7}, Split()) == (-HOUR, -HOUR)
    assert time_cuts({}, Split()) == (0, 0)


@given(
    st.dictionaries(st.integers(-5, 30), st.integers(1, 9), min_size=1, max_size=12), fractions()
)
def test_cuts_are_the_first_hours_with_their_share_before_them(hours, shares) -> None:
    cuts = time_cuts(hours, Split(fractions=shares))
    wanted = Fraction(0)
    for cut, share in zip(cuts, shares, strict=False):
        wanted += Fraction(str(share)) * sum(hours.values())
        before = [
            sum(n for hour, n in hours.items() if hour * HOUR < end) for end in (cut - HOUR, cut)
        ]
        assert before[0] < wanted <= before[1] and cut % HOUR == 0
