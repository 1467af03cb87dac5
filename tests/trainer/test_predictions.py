from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, ndcg_score, roc_auc_score

from configs.command_line import CommandError
from trainer.evaluation.score_table import write_scores
from trainer.metrics import Ranks
from trainer.predictions import (
    RANK_COLUMNS,
    ListPredictions,
    Predictions,
    RetrievalPredictions,
    SamplePredictions,
    compare_predictions,
    ranks_of,
)

USERS = np.array([f"u{number // 8}" for number in range(80)], dtype=object)


def samples(seed: int = 1, tasks: tuple[str, ...] = ()) -> SamplePredictions:
    """Scores that know something; labels and users do not depend on the seed."""
    labels = np.random.default_rng(0).integers(0, 2, size=80).astype(np.float32)
    labels[:8] = 1
    random = np.random.default_rng(seed)
    of_tasks = {task: np.roll(labels, number) for number, task in enumerate(tasks, start=1)}

    def scored(truth: np.ndarray) -> np.ndarray:
        return (0.2 + 0.3 * truth + 0.4 * random.random(80)).astype(np.float32)

    return SamplePredictions(
        user_ids=USERS,
        item_ids=np.arange(80).astype(str),
        labels=labels,
        scores=scored(labels),
        task_labels=of_tasks,
        task_scores={task: scored(truth) for task, truth in of_tasks.items()},
    )


def lists(seed: int = 1) -> ListPredictions:
    """Lists of 2 to 6 candidates, some without a positive one."""
    fixed = np.random.default_rng(0)
    sizes = fixed.integers(2, 7, size=40)
    mask = np.arange(6) < sizes[:, np.newaxis]
    items = np.where(mask, np.arange(240).reshape(40, 6).astype(str), "")
    labels = (fixed.random([40, 6]) < 0.3).astype(np.float32) * mask
    random = np.random.default_rng(seed)
    scores = (0.2 + 0.3 * labels + 0.4 * random.random([40, 6])).astype(np.float32) * mask
    return ListPredictions(USERS[::2], items, labels, scores)


def retrieved(seed: int = 1) -> RetrievalPredictions:
    random = np.random.default_rng(seed)
    better, tied = random.integers(0, 30, size=80), random.integers(0, 3, size=80)
    return RetrievalPredictions(
        USERS,
        np.arange(80).astype(str),
        Ranks(better, tied),
        Ranks(better // 2, tied // 2),
    )


ALL_KINDS = [samples, lists, retrieved]


def written(predictions: Predictions, folder: Path) -> pd.DataFrame:
    path = folder / "scores.parquet"
    write_scores(path, [predictions.table()])
    return pd.read_parquet(path)


def test_the_file_holds_all_samples_and_sklearn_agrees_on_it(tmp_path: Path) -> None:
    predictions = samples()
    table = written(predictions, tmp_path)
    assert list(table.columns) == ["user_id", "item_id", "label", "score"]
    np.testing.assert_array_equal(table.user_id, predictions.user_ids)
    np.testing.assert_array_equal(table.item_id, predictions.item_ids)
    np.testing.assert_array_equal(table.label, predictions.labels)
    np.testing.assert_array_equal(table.score, predictions.scores)
    metrics = predictions.metrics()
    assert metrics["n"] == predictions.count == len(table)
    assert metrics["auc"] == pytest.approx(roc_auc_score(table.label, table.score))
    assert metrics["logloss"] == pytest.approx(log_loss(table.label, table.score.astype(float)))
    mixed = table.groupby("user_id").filter(lambda rows: rows.label.nunique() == 2)
    assert 0 < len(mixed) < len(table)
    aucs, sizes = zip(
        *[
            (roc_auc_score(rows.label, rows.score), len(rows))
            for _, rows in mixed.groupby("user_id")
        ],
        strict=True,
    )
    assert metrics["gauc"] == pytest.approx(np.average(aucs, weights=sizes))


def test_further_tasks_have_columns_and_metrics_of_their_own(tmp_path: Path) -> None:
    predictions = samples(tasks=("loved", "finished"))
    table = written(predictions, tmp_path)
    metrics = predictions.metrics()
    assert {name: metrics[name] for name in ("auc", "logloss", "gauc", "n")} == samples().metrics()
    assert list(metrics["tasks"]) == ["loved", "finished"]
    for task, of_task in metrics["tasks"].items():
        expected = roc_auc_score(table[f"label_{task}"], table[f"score_{task}"])
        assert of_task["auc"] == pytest.approx(expected)
        assert set(of_task) == {"auc", "logloss", "gauc", "n"}
    assert metrics["tasks"]["loved"]["auc"] != metrics["tasks"]["finished"]["auc"]


def test_a_task_of_one_class_is_named() -> None:
    predictions = samples(tasks=("loved",))
    predictions.task_labels["loved"][:] = 1
    with pytest.raises(CommandError, match="task 'loved': AUC needs samples of both classes"):
        predictions.metrics()


def test_the_file_of_a_re_ranker_holds_a_row_per_candidate(tmp_path: Path) -> None:
    predictions = lists()
    table = written(predictions, tmp_path)
    assert list(table.columns) == ["list_id", "user_id", "item_id", "label", "score"]
    metrics = predictions.metrics()
    assert metrics["n"] == predictions.count == len(table) == (predictions.item_ids != "").sum()
    assert not (table.item_id == "").any()
    assert metrics["auc"] == pytest.approx(roc_auc_score(table.label, table.score))
    ndcg = []
    for list_id, rows in table.groupby("list_id"):
        assert set(rows.user_id) == {predictions.user_ids[list_id]}
        real = [item for item in predictions.item_ids[list_id] if item]
        assert rows.item_id.tolist() == real
        if rows.label.any():
            ndcg.append(ndcg_score([rows.label], [rows.score]))
    assert len(ndcg) == metrics["lists"] - metrics["lists_without_positive"] < metrics["lists"]
    assert metrics["ndcg_at_10"] == pytest.approx(np.mean(ndcg))


def test_the_file_of_a_retrieval_model_holds_both_ranks(tmp_path: Path) -> None:
    predictions = retrieved()
    table = written(predictions, tmp_path)
    assert list(table.columns) == ["user_id", "item_id", *RANK_COLUMNS]
    assert predictions.metrics()["n"] == predictions.count == len(table)
    np.testing.assert_array_equal(
        table["rank"], 1 + predictions.among_all.better + predictions.among_all.tied / 2
    )
    assert (table.rank_new_items <= table["rank"]).all()
    columns = {name: table[name].to_numpy() for name in RANK_COLUMNS}
    for found, expected in zip(
        ranks_of(columns), (predictions.among_all, predictions.among_new), strict=True
    ):
        np.testing.assert_array_equal(found.better, expected.better)
        np.testing.assert_array_equal(found.tied, expected.tied)


@pytest.mark.parametrize("made_up", ALL_KINDS)
def test_some_rows_have_the_metrics_of_their_own_samples(made_up) -> None:
    predictions = made_up()
    table = predictions.table()
    chosen = np.random.default_rng(2).random(table.num_rows) < 0.6
    some = predictions.of_rows(chosen)
    expected = table.filter(chosen)
    assert some.count == expected.num_rows
    assert some.table().equals(expected)
    if made_up is retrieved:
        assert some.scored_samples() is None
        assert 0 < some.metrics()["recall_at_10"] != predictions.metrics()["recall_at_10"]
        return
    labels, scores = some.scored_samples()
    assert labels.tolist() == expected["label"].to_pylist()
    assert scores.tolist() == expected["score"].to_pylist()
    assert some.metrics()["auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert predictions.of_rows(np.ones(table.num_rows, bool)).metrics() == predictions.metrics()


def test_tasks_stay_with_their_samples() -> None:
    predictions = samples(tasks=("loved",))
    chosen = np.arange(80) % 3 > 0
    some = predictions.of_rows(chosen)
    np.testing.assert_array_equal(
        some.task_labels["loved"], predictions.task_labels["loved"][chosen]
    )
    np.testing.assert_array_equal(
        some.task_scores["loved"], predictions.task_scores["loved"][chosen]
    )


def test_comparison_averages_the_seeds() -> None:
    predictions = samples()
    perfect = dataclasses.replace(predictions, scores=predictions.labels)
    reverse = dataclasses.replace(predictions, scores=1 - predictions.labels)
    sides = ([predictions], [perfect, reverse, perfect])
    result = compare_predictions(*sides, resamples=50, seed=3)
    assert set(result) == {"auc"}
    found = result["auc"]
    assert found.baseline == pytest.approx(predictions.metrics()["auc"])
    assert found.candidate == pytest.approx(2 / 3)
    assert found.difference == pytest.approx(found.candidate - found.baseline)
    assert found.low < found.difference < found.high
    assert compare_predictions(*sides, resamples=50, seed=3) == result


@pytest.mark.parametrize(
    ("made_up", "metrics"),
    [(lists, ["auc", "ndcg_at_10"]), (retrieved, ["new_items_recall_at_10"])],
)
def test_other_kinds_are_compared_by_their_own_metrics(made_up, metrics: list[str]) -> None:
    runs = [made_up(seed) for seed in (1, 2, 3)]
    result = compare_predictions(runs[:1], runs[1:], resamples=50, seed=3)
    assert list(result) == metrics
    for name, found in result.items():
        values = [run.metrics()[name] for run in runs]
        assert found.baseline == pytest.approx(values[0])
        assert found.candidate == pytest.approx(np.mean(values[1:]))
        assert found.low < found.difference < found.high


@pytest.mark.parametrize("made_up", ALL_KINDS)
def test_comparison_with_itself_is_zero(made_up) -> None:
    for found in compare_predictions([made_up()], [made_up()], resamples=20, seed=0).values():
        assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("made_up", "name"),
    [
        *((made_up, name) for made_up in ALL_KINDS for name in ("user_ids", "item_ids", "length")),
        (samples, "labels"),
        (lists, "labels"),
    ],
)
def test_other_examples_are_refused(made_up, name: str) -> None:
    predictions = made_up()
    arrays = {
        key: value for key, value in vars(predictions).items() if isinstance(value, np.ndarray)
    }
    if name == "length":
        changes = {key: value[1:] for key, value in arrays.items()}
    else:
        values = arrays[name].copy()
        values[0] = 1 - values[0] if name == "labels" else "other"
        changes = {name: values}
    other = dataclasses.replace(predictions, **changes)
    for sides in (([predictions], [other]), ([predictions, other], [predictions])):
        with pytest.raises(CommandError, match=f"different {predictions.examples_name}"):
            compare_predictions(*sides, resamples=10, seed=0)


def test_different_kinds_are_not_compared() -> None:
    with pytest.raises(CommandError, match="different kinds of models"):
        compare_predictions([samples()], [retrieved()], resamples=10, seed=0)


@pytest.mark.parametrize("made_up", [samples, lists])
def test_auc_of_one_class_is_refused(made_up) -> None:
    predictions = made_up()
    one_class = dataclasses.replace(predictions, labels=np.ones_like(predictions.labels))
    with pytest.raises(CommandError, match="both classes"):
        compare_predictions([one_class], [one_class], resamples=10, seed=0)
