from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from configs.data import Split
from preprocessing.interactions.sequences import knowledge_boundaries, split_interactions
from tests.preprocessing.interactions.made_interactions import (
    changed,
    counted_sequences,
    interaction_table,
    sequences_of,
)


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
