from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.metric_sums import RankSums
from trainer.evaluation.slices import NumberSlice
from trainer.metrics import Ranks, evaluate_ranks, rank_values


def made_up_ranks(seed: int, count: int = 120) -> tuple[Ranks, Ranks]:
    random = np.random.default_rng(seed)
    better, tied = random.integers(0, 130, count), random.integers(0, 3, count)
    return Ranks(better, tied), Ranks(better // 2, tied // 2)


def part_of(ranks: Ranks, rows: np.ndarray) -> Ranks:
    return Ranks(ranks.better[rows], ranks.tied[rows])


def test_groups_have_the_metrics_of_their_own_examples() -> None:
    among_all, among_new = made_up_ranks(1)
    numbers = np.arange(120) % 7
    sums = RankSums(NumberSlice("number", ["0-1", "2-6", "7+"], "number", [2, 7]))
    for rows in (np.arange(50), np.arange(50, 51), np.arange(51, 120)):
        values = rank_values(part_of(among_all, rows), part_of(among_new, rows))
        sums.add({"number": numbers[rows]}, values)
    for group, own in enumerate((numbers < 2, numbers >= 2)):
        expected = evaluate_ranks(part_of(among_all, own), part_of(among_new, own))
        assert sums.metrics(group) == pytest.approx(expected, abs=1e-12)
    empty = sums.metrics(2)
    assert empty.pop("n") == 0 and empty.pop("reason") == "no examples"
    assert set(empty.values()) == {None} and set(empty) == set(sums.metrics(0)) - {"n"}
