"""What evaluation and comparison hold of a part and of its items, as docs/scale.md states it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.evaluation_memory import synthetic_scores
from configs.experiment import Evaluation
from preprocessing.records.contract import CTR, USER_FOLDS
from preprocessing.records.item_tables import FIXED_COLUMNS, read_item_attributes
from tests.memory import held_for_each, most_held
from trainer.evaluation.part_metrics import part_metrics
from trainer.evaluation.score_table import ScoreTable, write_scores
from trainer.evaluation.slices import NumberSlice
from trainer.significance import (
    bootstrap_auc_difference,
    bootstrap_mean_difference,
    delong_test,
)

Work = Callable[[], object]


@pytest.mark.slow
def test_an_evaluation_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    def evaluation(samples: int) -> Work:
        path = tmp_path / f"{samples}.parquet"
        write_scores(path, synthetic_scores(samples, seed=1))

        def evaluate() -> None:
            activity = NumberSlice("activity", ["0-49", "50+"], "position", [50])
            with ScoreTable(path, 256, 1, tmp_path) as table:
                assert part_metrics(table, CTR, Evaluation(), [activity]).metrics["n"] == samples

        return evaluate

    # More than three batches of 2^17 samples, so that all that a pass holds is there.
    assert most_held(evaluation(800_000)) < 1.1 * most_held(evaluation(400_000)) < 100e6


def part(samples: int, users: int) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, samples).astype(np.float32)
    scores = random.random([2, samples], np.float32)
    return labels, random.integers(0, users, samples), scores[:1], scores[1:]


def test_resamples_of_a_large_part_are_not_all_held() -> None:
    """So many users that pairs of them would take more than the samples."""

    def aucs(samples: int) -> Work:
        labels, users, _, scores = part(samples, 10_000)
        return lambda: bootstrap_auc_difference(labels, users, scores[:0], scores, resamples=16)

    def means(samples: int) -> Work:
        _, users, *values = part(samples, 10_000)
        return lambda: bootstrap_mean_difference(users, *values, resamples=16)

    # 16 weights of 8 bytes would be 128 by themselves, and the sums of an AUC several times that.
    assert held_for_each(aucs, 260_000, 520_000) < 250
    assert held_for_each(means, 260_000, 520_000) < 250


def test_pairs_of_users_are_counted_where_they_fit() -> None:
    labels, users, _, scores = part(50_000, 3000)
    scores = np.repeat(scores, 20, axis=0)
    # Twenty runs with the pairs of 3,000 users each would be 1.4 GB.
    held = most_held(lambda: bootstrap_auc_difference(labels, users, scores[:0], scores, 1))
    assert held < 8 << 27


def test_runs_are_compared_one_after_the_other() -> None:
    """Two tables of pairs of users and four of blocks, as the bound has them, however many runs."""
    labels, users, _, scores = part(40_000, 1500)
    scores = np.repeat(scores, 5, axis=0)
    held = most_held(lambda: bootstrap_auc_difference(labels, users, scores[:2], scores[2:], 1))
    assert held < 1.15 * 8 * 1500 * (2 * 1500 + 4 * 40_000 / 256)


def test_delong() -> None:
    def delong(samples: int) -> Work:
        labels, _, baseline, candidate = part(samples, 10)
        return lambda: delong_test(labels, baseline, candidate)

    assert 8 < held_for_each(delong, 20_000, 60_000) < 100


def test_items_of_a_catalogue(tmp_path: Path) -> None:
    def reading(items: int) -> Work:
        folds = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(items * USER_FOLDS)), USER_FOLDS)
        columns = {
            "item_id": [f"{number:07}" for number in range(items)],
            "title": [f"A title of number {number:06}" for number in range(items)],
            **dict.fromkeys(("rating_sum", "rating_count"), np.ones(items)),
            **dict.fromkeys(("rating_sum_by_fold", "rating_count_by_fold"), folds),
            "genres": [["Drama", "Comedy"]] * items,
            "year": np.ones(items),
        }
        types = pa.schema(FIXED_COLUMNS | {"genres": pa.list_(pa.string()), "year": pa.float64()})
        path = tmp_path / f"{items}.parquet"
        pq.write_table(pa.table(columns).cast(types), path)
        return lambda: read_item_attributes(path)

    assert 16 * USER_FOLDS < held_for_each(reading, 4000, 12_000) < 900
