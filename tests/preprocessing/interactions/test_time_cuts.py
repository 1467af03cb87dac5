from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from configs.data import Split
from preprocessing.interactions.sequences import count_sample_hours, time_cuts
from tests.preprocessing.interactions.made_interactions import interaction_table, sequences_of

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
