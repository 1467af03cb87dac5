from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.command_line import CommandError
from configs.experiment import Evaluation
from tests.trainer.evaluation.made_up_scores import (
    expected_metrics,
    made_up_lists,
    made_up_samples,
    written,
)
from trainer.evaluation import score_table
from trainer.evaluation.metric_sums import shuffled_order
from trainer.evaluation.part_metrics import PartMetrics, part_metrics
from trainer.evaluation.score_table import ScoreTable
from trainer.evaluation.slices import MISSING, KeySlice, NumberSlice, Slice
from trainer.metrics import Ranks, evaluate_ranks
from trainer.predictions import ListPredictions, RetrievalPredictions, SamplePredictions

OPTIONS = Evaluation()
GENRES = ("Drama", "Comedy", "Western")


def evaluated(samples: pd.DataFrame, folder: Path, kind: str = "ctr", **options) -> PartMetrics:
    with ScoreTable(written(samples, folder)) as table:
        return part_metrics(table, kind, OPTIONS, slices_of(table), **options)


def genres_of(item: str) -> list[int]:
    """Item i5 has two genres, i7 none, all others one."""
    number = int(item[1:])
    return {5: [0, 1], 7: []}.get(number, [number % 3])


def slices_of(table: ScoreTable) -> list[Slice]:
    items, _ = table.counts("item_id")
    table.add_key("item_key", "item_id", items)
    of_items = [genres_of(item) for item in items.to_pylist()]
    return [
        NumberSlice("activity", ["0-9", "10-29", "30+"], "position", [10, 30]),
        KeySlice("genre", GENRES, "item_key", [*of_items, []]),
    ]


def in_group(samples: pd.DataFrame, name: str, group: str) -> pd.DataFrame:
    if name == "genre":
        return samples[samples.item_id.map(lambda i: GENRES.index(group) in genres_of(i))]
    low, high = {"0-9": (0, 10), "10-29": (10, 30), "30+": (30, 99)}[group]
    return samples[(samples.position >= low) & (samples.position < high)]


@pytest.mark.parametrize("digits", [1, 2, None])
def test_metrics_of_a_part_and_its_slices_are_those_of_scikit_learn_and_loops(
    digits: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_table, "_BATCH", 256)
    samples = made_up_samples(3, digits=digits)
    found = evaluated(samples, tmp_path)
    samples["order"] = shuffled_order(np.arange(len(samples)))
    expected = expected_metrics(samples, "user_id", "order")
    assert found.metrics.pop("calibration_error") > 0
    assert found.metrics == pytest.approx(expected, abs=1e-9)
    assert list(found.slices) == ["activity", "genre"]
    for name, groups in found.slices.items():
        for group, metrics in groups.items():
            rows = in_group(samples, name, group)
            assert metrics.pop("share") == pytest.approx(len(rows) / len(samples))
            assert metrics.pop("sparse") is False
            assert metrics == pytest.approx(expected_metrics(rows, "user_id", "order"), abs=1e-9)
    assert sum(metrics["n"] for metrics in found.slices["genre"].values()) != len(samples)


def test_metrics_of_lists_are_those_of_scikit_learn_and_loops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_table, "_BATCH", 200)
    samples = made_up_lists(4)
    found = evaluated(samples, tmp_path, "rerank")
    samples["order"] = np.arange(len(samples))
    found.metrics.pop("calibration_error")
    assert found.metrics == pytest.approx(expected_metrics(samples, "list_id", "order"), abs=1e-9)
    for name, groups in found.slices.items():
        for group, metrics in groups.items():
            expected = expected_metrics(in_group(samples, name, group), "list_id", "order")
            assert {key: metrics[key] for key in expected} == pytest.approx(expected, abs=1e-9)


def test_it_agrees_with_what_training_validates_by(tmp_path: Path) -> None:
    samples = made_up_samples(8, digits=2)
    arrays = (samples[name].to_numpy() for name in ("user_id", "item_id", "label", "score"))
    expected = SamplePredictions(*arrays).metrics()
    found = evaluated(samples, tmp_path).metrics
    assert {name: found[name] for name in expected} == pytest.approx(dict(expected), abs=1e-12)


def test_lists_agree_with_what_training_validates_by(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    mask = np.arange(9) < random.integers(1, 10, 70)[:, np.newaxis]
    lists = ListPredictions(
        np.array([f"u{number % 23}" for number in range(70)]),
        np.where(mask, [f"i{number}" for number in range(9)], ""),
        (random.random(mask.shape) < 0.3).astype(np.float32) * mask,
        np.round(random.random(mask.shape), 1).astype(np.float32),
    )
    samples = lists.table().to_pandas().assign(position=0)
    found = evaluated(samples, tmp_path, "rerank").metrics
    expected = lists.metrics()
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_retrieval_agrees_with_what_training_validates_by(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    ranks = [Ranks(random.integers(0, 40, 90), random.integers(0, 4, 90)) for _ in range(2)]
    users, items = np.array(["u"] * 90), np.array([f"i{n}" for n in random.integers(0, 9, 90)])
    predictions = RetrievalPredictions(users, items, *ranks)
    samples = predictions.table().to_pandas().assign(position=np.arange(90))
    found = evaluated(samples, tmp_path, "retrieval")
    assert found.metrics == pytest.approx(predictions.metrics(), abs=1e-12)
    assert found.reliability == []
    old = np.arange(90) >= 30
    expected = evaluate_ranks(*(Ranks(r.better[old], r.tied[old]) for r in ranks))
    group = found.slices["activity"]["30+"]
    assert (group.pop("share"), group.pop("sparse")) == (60 / 90, False)
    assert group == pytest.approx(expected, abs=1e-12)
    assert found.slices["activity"]["0-9"]["sparse"] is True


def test_results_do_not_depend_on_threads_or_the_order_of_the_file(tmp_path: Path) -> None:
    samples = made_up_samples(9, rows=20_000, digits=2)
    path = written(samples, tmp_path)
    results = []
    for threads in (1, 4, 4):
        with ScoreTable(path, threads=threads) as table:
            results.append(part_metrics(table, "ctr", OPTIONS, slices_of(table)))
    for other in results[1:]:
        assert other.metrics == pytest.approx(results[0].metrics, abs=1e-12)
        for name, groups in other.slices.items():
            for group, metrics in groups.items():
                assert metrics == pytest.approx(results[0].slices[name][group], abs=1e-12)
    unmixed = samples.sort_values("user_id", kind="stable")
    again = evaluated(unmixed, tmp_path).metrics
    for name in ("auc", "logloss", "gauc", "gauc_mean", "calibration_error"):
        assert again[name] == pytest.approx(results[0].metrics[name], abs=1e-12)


def test_reliability_is_that_of_the_whole_part(tmp_path: Path) -> None:
    samples = made_up_samples(10, digits=None)
    found = evaluated(samples, tmp_path)
    assert len(found.reliability) == OPTIONS.calibration_bins
    assert sum(one.n for one in found.reliability) == len(samples)
    ordered = samples.sort_values("score")
    expected = [
        abs(rows.score.astype(float).mean() - rows.label.mean())
        for _, rows in ordered.groupby(np.arange(len(samples)) // 100)
    ]
    assert found.metrics["calibration_error"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_further_tasks_are_judged_by_their_own_columns(tmp_path: Path) -> None:
    samples, other = made_up_samples(11), made_up_samples(12)
    samples["label_loved"], samples["score_loved"] = other.label, other.score
    found = evaluated(samples, tmp_path, tasks=["loved"]).metrics
    loved = samples.assign(label=other.label, score=other.score)
    assert found.pop("tasks") == {"loved": pytest.approx(evaluated(loved, tmp_path).metrics)}
    assert found == evaluated(samples, tmp_path).metrics


def test_samples_of_one_class_are_refused(tmp_path: Path) -> None:
    samples = made_up_samples(1)
    with pytest.raises(CommandError, match="^AUC needs samples of both classes"):
        evaluated(samples.assign(label=1.0), tmp_path)
    samples["label_loved"], samples["score_loved"] = 0.0, samples.score
    with pytest.raises(CommandError, match="task 'loved': AUC needs samples of both classes"):
        evaluated(samples, tmp_path, tasks=["loved"])


def test_users_of_one_class_each_leave_the_auc_of_chance(tmp_path: Path) -> None:
    samples = made_up_samples(1)
    samples["user_id"] = samples.label.map({0.0: "a", 1.0: "b"})
    found = evaluated(samples, tmp_path)
    assert found.metrics["gauc"] == 0.5 and found.metrics["gauc_mean"] is None
    assert found.metrics["reason"] == "no user has samples of both classes"
    assert found.slices["activity"]["0-9"]["gauc"] is None


def test_a_missing_value_that_no_sample_has_is_no_group(tmp_path: Path) -> None:
    samples = made_up_samples(2)
    for bounds, groups in (([1000], ["low", "high", MISSING]), ([10], ["low", "high", MISSING])):
        with ScoreTable(written(samples, tmp_path)) as table:
            division = NumberSlice("position", groups, "position", bounds)
            found = part_metrics(table, "ctr", OPTIONS, [division]).slices["position"]
        assert list(found) == ["low", "high"]
    assert found["low"]["share"] + found["high"]["share"] == pytest.approx(1)
