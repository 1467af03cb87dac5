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
    task_labels = {task: np.roll(labels, number) for number, task in enumerate(tasks, start=1)}

    def scored(truth: np.ndarray) -> np.ndarray:
        return (0.2 + 0.3 * truth + 0.4 * random.random(80)).astype(np.float32)

    return SamplePredictions(
        user_ids=USERS,
        item_ids=np.arange(80).astype(str),
        labels=labels,
        scores=scored(labels),
        task_labels=task_labels,
        task_scores={task: scored(truth) for task, truth in task_labels.items()},
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
    columns = ["label_loved", "score_loved", "label_finished", "score_finished"]
    assert list(table.columns)[4:] == columns
    assert predictions.is_of_same_examples(samples())
    for task, task_metrics in metrics["tasks"].items():
        np.testing.assert_array_equal(table[f"label_{task}"], predictions.task_labels[task])
        np.testing.assert_array_equal(table[f"score_{task}"], predictions.task_scores[task])
        expected = roc_auc_score(table[f"label_{task}"], table[f"score_{task}"])
        assert task_metrics["auc"] == pytest.approx(expected)
        assert set(task_metrics) == {"auc", "logloss", "gauc", "n"}
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
    np.testing.assert_array_equal(table.label, predictions.labels[predictions.mask])
    np.testing.assert_array_equal(table.score, predictions.scores[predictions.mask])
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


def test_what_stands_in_padding_changes_nothing() -> None:
    predictions = lists()
    wide = {
        name: np.pad(getattr(predictions, name), [(0, 0), (0, 4)], constant_values=value)
        for name, value in (("item_ids", ""), ("labels", 1), ("scores", 1e9))
    }
    wider = dataclasses.replace(predictions, **wide)
    assert wider.metrics() == predictions.metrics()
    assert wider.table().equals(predictions.table())
    actual = compare_predictions([wider], [wider], resamples=10, seed=0)
    assert actual == compare_predictions([predictions], [predictions], resamples=10, seed=0)


def test_the_file_of_a_retrieval_model_holds_both_ranks(tmp_path: Path) -> None:
    predictions = retrieved()
    table = written(predictions, tmp_path)
    assert list(table.columns) == ["user_id", "item_id", *RANK_COLUMNS]
    assert predictions.metrics()["n"] == predictions.count == len(table)
    np.testing.assert_array_equal(
        table["rank"], 1 + predictions.among_all.better + predictions.among_all.tied / 2
    )
    np.testing.assert_array_equal(
        table.rank_new_items, 1 + predictions.among_new.better + predictions.among_new.tied / 2
    )
    np.testing.assert_array_equal(table.user_id, predictions.user_ids)
    np.testing.assert_array_equal(table.item_id, predictions.item_ids)
    columns = {name: table[name].to_numpy() for name in RANK_COLUMNS}
    for actual, expected in zip(
        ranks_of(columns), (predictions.among_all, predictions.among_new), strict=True
    ):
        np.testing.assert_array_equal(actual.better, expected.better)
        np.testing.assert_array_equal(actual.tied, expected.tied)


@pytest.mark.parametrize("synthetic", ALL_KINDS)
def test_some_rows_have_the_metrics_of_their_own_samples(synthetic) -> None:
    predictions = synthetic()
    table = predictions.table()
    chosen = np.random.default_rng(2).random(table.num_rows) < 0.6
    some = predictions.of_rows(chosen)
    expected = table.filter(chosen)
    assert some.count == expected.num_rows
    assert some.table().equals(expected)
    if synthetic is retrieved:
        assert 0 < some.metrics()["recall_at_10"] != predictions.metrics()["recall_at_10"]
        return
    auc = some.measures()["auc"]
    labels, scores = auc.labels, auc.values
    assert auc.user_ids.tolist() == expected["user_id"].to_pylist()
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
    actual = result["auc"]
    assert actual.baseline == pytest.approx(predictions.metrics()["auc"])
    assert actual.candidate == pytest.approx(2 / 3)
    assert actual.difference == pytest.approx(actual.candidate - actual.baseline)
    assert actual.low < actual.difference < actual.high
    assert compare_predictions(*sides, resamples=50, seed=3) == result


@pytest.mark.parametrize(
    ("synthetic", "metrics"),
    [(lists, ["auc", "ndcg_at_10"]), (retrieved, ["new_items_recall_at_10"])],
)
def test_other_kinds_are_compared_by_their_own_metrics(synthetic, metrics: list[str]) -> None:
    runs = [synthetic(seed) for seed in (1, 2, 3)]
    result = compare_predictions(runs[:1], runs[1:], resamples=50, seed=3)
    assert list(result) == metrics
    for name, each in result.items():
        values = [run.metrics()[name] for run in runs]
        assert each.baseline == pytest.approx(values[0])
        assert each.candidate == pytest.approx(np.mean(values[1:]))
        assert each.low < each.difference < each.high


@pytest.mark.parametrize(
    ("synthetic", "metric"),
    [(samples, "auc"), (lists, "ndcg_at_10"), (retrieved, "new_items_recall_at_10")],
)
def test_every_kind_has_the_metric_that_epochs_are_chosen_by(synthetic, metric: str) -> None:
    assert synthetic().selection_metric == metric
    assert metric in synthetic().metrics()


@pytest.mark.parametrize("synthetic", ALL_KINDS)
def test_comparison_with_itself_is_zero(synthetic) -> None:
    for each in compare_predictions([synthetic()], [synthetic()], resamples=20, seed=0).values():
        assert (each.difference, each.low, each.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("synthetic", "name"),
    [
        *(
            (synthetic, name)
            for synthetic in ALL_KINDS
            for name in ("user_ids", "item_ids", "length")
        ),
        (samples, "labels"),
        (lists, "labels"),
    ],
)
def test_other_examples_are_refused(synthetic, name: str) -> None:
    predictions = synthetic()
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


@pytest.mark.parametrize("synthetic", [samples, lists])
def test_auc_of_one_class_is_refused(synthetic) -> None:
    predictions = synthetic()
    one_class = dataclasses.replace(predictions, labels=np.ones_like(predictions.labels))
    with pytest.raises(CommandError, match="both classes"):
        compare_predictions([one_class], [one_class], resamples=10, seed=0)


def test_recalls_are_shares_of_hits_among_all_and_among_new_items() -> None:
    predictions = RetrievalPredictions(
        user_ids=np.array(["u1", "u1", "u2", "u3"]),
        item_ids=np.array(["a", "b", "a", "c"]),
        among_all=Ranks(np.array([20, 40, 9, 0]), np.array([0, 0, 3, 0])),
        among_new=Ranks(np.array([10, 9, 9, 0]), np.array([0, 0, 3, 0])),
    )
    metrics = predictions.metrics()
    assert metrics["n"] == 4
    # One of the places 10 to 13 of the third example is among the first ten: a quarter of a hit.
    assert metrics["recall_at_10"] == pytest.approx((0 + 0 + 0.25 + 1) / 4)
    assert metrics["new_items_recall_at_10"] == pytest.approx((0 + 1 + 0.25 + 1) / 4)
