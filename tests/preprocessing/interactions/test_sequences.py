from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from configs.data import InteractionColumns, Split
from preprocessing.interactions.reading import INTERACTION_SCHEMA
from preprocessing.interactions.sequences import (
    count_sample_hours,
    knowledge_boundaries,
    order_interactions,
    ordered_by,
    split_interactions,
    time_cuts,
    without_repeated,
)
from tests.preprocessing.interactions.made_interactions import (
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


def test_order_is_by_user_time_and_number_of_the_item():
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


def test_items_that_are_no_numbers_are_in_text_order():
    sequences, _ = order_interactions(interaction_table(*ROWS), ["f"], integer_items=False)
    assert sequences.items_at(np.arange(4)) == ["9", "2", "10", "9"]


def test_ids_of_one_number_are_in_text_order():
    table = interaction_table(*[("u", item, 1.0, 5) for item in ("7", "10", "07", "-3")])
    sequences, dead_letters = order_interactions(table, ["f"], integer_items=True)
    assert sequences.items_at(np.arange(4)) == ["-3", "07", "7", "10"]
    assert dead_letters == []


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


def test_the_table_without_repeated_rows_is_sorted_by_user():
    table, dead_letters = without_repeated(interaction_table(*ROWS), ["f"], "time")
    assert table["user"].to_pylist() == ["u10", "u2", "u2", "u2"]
    assert sorted(table["line"].to_pylist()) == [2, 3, 4, 6]
    assert [letter["line"] for letter in dead_letters] == [5, 7]
    assert without_repeated(interaction_table(*ROWS), ["f"], None)[0].num_rows == 6


def test_no_interactions():
    sequences, dead_letters = order_interactions(
        INTERACTION_SCHEMA.empty_table(), ["f"], integer_items=True
    )
    assert sequences.users == [] and sequences.item_ids == [] and dead_letters == []
    assert len(sequences.positions) == 0


@pytest.mark.parametrize("integer_items", [True, False])
def test_order_is_that_of_pandas(integer_items):
    random = np.random.default_rng(3)
    count = 2000
    frame = pd.DataFrame(
        {
            "user": random.integers(0, 40, count).astype(str),
            "item": random.integers(0, 60, count).astype(str),
            "rating": random.random(count),
            "label": 0,
            "order": random.integers(0, 90, count).astype(float),
            "timestamp": 1,
            "part": -1,
            "extra_labels": 0,
            "file": 0,
            "line": random.permutation(count),
        }
    )
    table = pa.Table.from_pandas(frame, INTERACTION_SCHEMA, preserve_index=False)
    sequences, dead_letters = order_interactions(table, ["f"], integer_items)
    frame["item_key"] = frame["item"].astype(int) if integer_items else frame["item"]
    frame = frame.sort_values(["user", "order", "item_key", "line"])
    kept = frame.drop_duplicates(["user", "order", "item"])
    assert sequences.ratings.tolist() == kept["rating"].tolist()
    assert sequences.items_at(np.arange(len(kept))) == kept["item"].tolist()
    assert sequences.positions.tolist() == kept.groupby("user").cumcount().tolist()
    rejected = frame.drop(kept.index)["line"].tolist()
    assert [letter["line"] for letter in dead_letters] == rejected and rejected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [({}, "time"), ({"order": "n"}, "order"), ({"timestamp": None}, None),
     ({"timestamp": None, "order": "n"}, "order")],
)  # fmt: skip
def test_what_orders_follows_from_the_columns(columns, expected):
    assert ordered_by(InteractionColumns(**columns)) == expected


def test_boundaries_are_half_of_the_interactions_up_to_the_cap():
    counts = np.array([1, 2, 3, 4, 58, 59, 60, 61, 1000])
    assert knowledge_boundaries(counts, 30).tolist() == [1, 1, 2, 2, 29, 30, 30, 30, 30]
    assert knowledge_boundaries(counts, 0).tolist() == [0] * 9


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.7, 0.1, 0.2), (0.5, 0.25, 0.25)])
def test_the_time_split_rounds_halves_up(fractions):
    for samples in range(1, 60):
        split = split_interactions(
            counted_sequences([samples]), Split(fractions=fractions, knowledge_history_cap=0)
        )
        ends = [
            Fraction(str(fractions[0])),
            Fraction(str(fractions[0])) + Fraction(str(fractions[1])),
        ]
        train_end, validation_end = (math.floor(end * samples + Fraction(1, 2)) for end in ends)
        expected = [
            0 if position < train_end else 1 if position < validation_end else 2
            for position in range(samples)
        ]
        assert split.parts.tolist() == expected
        assert split.training.tolist() == [part == 0 for part in expected]


def test_history_is_training_data_but_no_sample():
    split = split_interactions(counted_sequences([1, 14]), Split(knowledge_history_cap=4))
    # second user: 4 history, 10 samples: 8, 1, 1
    assert split.boundaries.tolist() == [1, 4]
    assert split.parts.tolist() == [-1] + [-1] * 4 + [0] * 8 + [1] + [2]
    assert split.training.tolist() == [True] + [True] * 12 + [False] * 2


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


def test_the_global_time_split_cuts_all_users_at_the_same_times():
    rows = [("u", str(time), 5.0, time) for time in (0, 10, 20, 30, 40, 50)]
    rows += [("late", str(time), 5.0, time) for time in (35, 40, 41)]
    sequences = sequences_of(interaction_table(*rows))
    split = split_interactions(
        sequences, Split(by="global_time", knowledge_history_cap=2), cuts=(20, 40)
    )
    assert sequences.users == ["late", "u"]
    assert split.boundaries.tolist() == [2, 2]
    assert split.parts.tolist() == [-1, -1, 2] + [-1, -1, 1, 1, 2, 2]
    # late's first interactions come after the first cut: history only, and no training data
    assert split.training.tolist() == [False] * 3 + [True, True] + [False] * 4


def test_the_global_time_split_needs_cuts():
    with pytest.raises(ValueError, match="needs cuts"):
        split_interactions(counted_sequences([3]), Split(by="global_time"))


def test_a_given_part_counts_from_the_boundary_on():
    table = interaction_table(*[("u", str(time), 5.0, time) for time in range(6)])
    sequences = sequences_of(changed(table, part=[0, 2, 0, 1, 2, 0]))
    split = split_interactions(sequences, Split(by="column", knowledge_history_cap=2))
    assert split.parts.tolist() == [-1, -1, 0, 1, 2, 0]
    assert split.training.tolist() == [True, False, True, False, False, True]


HOUR = 3600


def test_only_samples_are_counted_by_their_hour():
    rows = [("u", "a", 5.0, -1), ("u", "b", 5.0, HOUR - 1), ("u", "c", 5.0, HOUR)]
    rows += [("u", "d", 5.0, HOUR + 5), ("one", "a", 5.0, HOUR)]
    sequences = sequences_of(interaction_table(*rows))
    # k_u is 2 for u and 1 for one
    assert count_sample_hours(sequences, Split()) == {1: 2}
    assert count_sample_hours(sequences, Split(knowledge_history_cap=0)) == {-1: 1, 0: 1, 1: 3}
    assert count_sample_hours(sequences_of(interaction_table()), Split()) == Counter()


def test_a_cut_is_the_first_hour_with_its_share_before_it():
    # 10 samples: 8 before hour 3 and 9 before hour 4
    hours = {0: 5, 1: 2, 2: 1, 3: 1, 9: 1}
    assert time_cuts(hours, Split()) == (3 * HOUR, 4 * HOUR)
    # 7 of 10 do not reach 0.75, so hour 2 belongs to train as well
    split = Split(fractions=(0.75, 0.2, 0.05))
    assert time_cuts(hours, split) == (3 * HOUR, 10 * HOUR)


def test_one_hour_is_all_training_and_no_samples_give_no_cuts():
    assert time_cuts({-2: 7}, Split()) == (-HOUR, -HOUR)
    assert time_cuts({}, Split()) == (0, 0)


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.34, 0.33, 0.33)])
def test_cuts_are_the_quantiles_of_numpy(fractions):
    random = np.random.default_rng(1)
    for size in (1, 7, 100, 1000):
        hour_of_sample = random.integers(-5, 200, size)
        hours = Counter(hour_of_sample.tolist())
        shares = [fractions[0], round(fractions[0] + fractions[1], 6)]
        expected = np.quantile(hour_of_sample, shares, method="inverted_cdf")
        cuts = time_cuts(hours, Split(fractions=fractions))
        assert cuts == tuple((int(hour) + 1) * HOUR for hour in expected)
