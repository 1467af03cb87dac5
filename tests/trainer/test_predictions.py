from __future__ import annotations

import dataclasses
import math
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
    for task, task_metrics in metrics["tasks"].items():
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
    assert (table.rank_new_items <= table["rank"]).all()
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


# Pairs (positive, negative) in the right order: 3 of 4 over all, 1 of 1 for u1; u2 has one class.
FOUR_SAMPLES = SamplePredictions(
    user_ids=np.array(["u1", "u1", "u2", "u3"]),
    item_ids=np.array(["a", "b", "a", "c"]),
    labels=np.array([1, 0, 1, 0], np.float32),
    scores=np.array([0.5, 0.25, 0.8, 0.6], np.float32),
    task_labels={"loved": np.array([0, 0, 1, 0], np.float32)},
    task_scores={"loved": np.array([0.2, 0.6, 0.4, 0.2], np.float32)},
)


def test_metrics_of_samples_are_those_counted_by_hand() -> None:
    metrics = FOUR_SAMPLES.metrics()
    assert FOUR_SAMPLES.count == metrics["n"] == 4
    assert metrics["auc"] == pytest.approx(3 / 4)
    assert metrics["gauc"] == pytest.approx(1)
    assert metrics["logloss"] == pytest.approx(-math.log(0.5 * 0.75 * 0.8 * 0.4) / 4, rel=1e-6)
    assert metrics["tasks"]["loved"]["auc"] == pytest.approx(2 / 3)
    assert FOUR_SAMPLES.selection_metric == "auc"


def test_the_table_has_columns_of_every_task() -> None:
    assert FOUR_SAMPLES.table().slice(1, 1).to_pylist() == [
        {
            "user_id": "u1",
            "item_id": "b",
            "label": 0.0,
            "score": 0.25,
            "label_loved": 0.0,
            "score_loved": pytest.approx(0.6),
        }
    ]


def test_further_tasks_do_not_make_other_examples() -> None:
    label_alone = SamplePredictions(
        FOUR_SAMPLES.user_ids, FOUR_SAMPLES.item_ids, FOUR_SAMPLES.labels, FOUR_SAMPLES.scores
    )
    assert FOUR_SAMPLES.is_of_same_examples(label_alone)
    swapped = SamplePredictions(
        FOUR_SAMPLES.user_ids, FOUR_SAMPLES.item_ids[::-1], FOUR_SAMPLES.labels, FOUR_SAMPLES.scores
    )
    assert not FOUR_SAMPLES.is_of_same_examples(swapped)


def test_the_difference_of_ranking_models_is_that_of_the_auc() -> None:
    perfect = SamplePredictions(
        FOUR_SAMPLES.user_ids, FOUR_SAMPLES.item_ids, FOUR_SAMPLES.labels, FOUR_SAMPLES.labels
    )
    actual = compare_predictions([FOUR_SAMPLES], [perfect], resamples=20, seed=0)
    assert list(actual) == ["auc"]
    assert actual["auc"].difference == pytest.approx(1 / 4)


SECOND_PLACE = 1 / math.log2(3)
"""NDCG of a list whose only positive candidate stands second."""


def three_lists(first_scores: list[float]) -> ListPredictions:
    """Three lists: one positive, one positive of two candidates, none."""
    return ListPredictions(
        user_ids=np.array(["u1", "u2", "u1"]),
        item_ids=np.array([["a", "b", "c"], ["d", "e", ""], ["f", "", ""]]),
        labels=np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32),
        scores=np.array([first_scores, [0.75, 0.5, 0], [0.25, 0, 0]], np.float32),
    )


SECOND = three_lists([0.875, 0.625, 0.125])
FIRST = three_lists([0.375, 0.625, 0.125])


def test_padding_is_no_candidate() -> None:
    assert SECOND.count == 6
    assert SECOND.mask.tolist() == [[True] * 3, [True, True, False], [True, False, False]]
    table = SECOND.table()
    assert table["list_id"].to_pylist() == [0, 0, 0, 1, 1, 2]
    assert table["user_id"].to_pylist() == ["u1", "u1", "u1", "u2", "u2", "u1"]
    assert table["item_id"].to_pylist() == list("abcdef")
    assert table["label"].to_pylist() == [0, 1, 0, 1, 0, 0]
    assert table["score"].to_pylist() == [0.875, 0.625, 0.125, 0.75, 0.5, 0.25]


def test_metrics_of_lists_are_those_counted_by_hand() -> None:
    metrics = SECOND.metrics()
    assert (metrics["n"], metrics["lists"], metrics["lists_without_positive"]) == (6, 3, 1)
    assert metrics[SECOND.selection_metric] == pytest.approx((SECOND_PLACE + 1) / 2)
    # Of 2 x 4 pairs only those of the negative candidate with the highest score are wrong.
    assert metrics["auc"] == pytest.approx(6 / 8)


def test_differences_are_those_of_auc_and_ndcg() -> None:
    actual = compare_predictions([SECOND], [FIRST], resamples=20, seed=0)
    assert list(actual) == ["auc", "ndcg_at_10"]
    assert actual["auc"].difference == pytest.approx(2 / 8)
    assert actual["ndcg_at_10"].difference == pytest.approx((1 - SECOND_PLACE) / 2)


def test_scores_do_not_make_other_examples() -> None:
    assert SECOND.is_of_same_examples(FIRST)
    users = np.array(["u2", "u1", "u1"])
    other = ListPredictions(users, SECOND.item_ids, SECOND.labels, SECOND.scores)
    assert not SECOND.is_of_same_examples(other)


def four_ranks(better_new: list[int], tied_new: list[int]) -> RetrievalPredictions:
    """Four examples of three users."""
    return RetrievalPredictions(
        user_ids=np.array(["u1", "u1", "u2", "u3"]),
        item_ids=np.array(["a", "b", "a", "c"]),
        among_all=Ranks(np.array([20, 40, 9, 0]), np.array([0, 0, 3, 0])),
        among_new=Ranks(np.array(better_new), np.array(tied_new)),
    )


# One of the places 10 to 13 of the third example is among the first ten: a quarter of a hit.
FOUR_RANKS = four_ranks([10, 9, 9, 0], [0, 0, 3, 0])


def test_the_table_counts_ranks_from_1() -> None:
    assert FOUR_RANKS.count == 4
    table = FOUR_RANKS.table()
    assert table["rank"].to_pylist() == [21, 41, 11.5, 1]
    assert table["rank_new_items"].to_pylist() == [11, 10, 11.5, 1]
    assert table["user_id"].to_pylist() == ["u1", "u1", "u2", "u3"]
    assert table["item_id"].to_pylist() == ["a", "b", "a", "c"]


def test_epochs_are_chosen_by_the_recall_among_new_items() -> None:
    metrics = FOUR_RANKS.metrics()
    assert metrics["n"] == 4
    assert metrics["recall_at_10"] == pytest.approx((0 + 0 + 0.25 + 1) / 4)
    assert FOUR_RANKS.selection_metric == "new_items_recall_at_10"
    assert metrics[FOUR_RANKS.selection_metric] == pytest.approx((0 + 1 + 0.25 + 1) / 4)


def test_the_difference_is_that_of_the_recall_among_new_items() -> None:
    better = four_ranks([0, 0, 0, 0], [0, 0, 0, 0])
    (name, difference), *others = compare_predictions(
        [FOUR_RANKS], [better], resamples=20, seed=0
    ).items()
    assert (name, others) == ("new_items_recall_at_10", [])
    assert difference.difference == pytest.approx(1 - 2.25 / 4)


def test_ranks_do_not_make_other_examples() -> None:
    assert FOUR_RANKS.is_of_same_examples(four_ranks([0] * 4, [0] * 4))
    other = RetrievalPredictions(
        FOUR_RANKS.user_ids,
        FOUR_RANKS.item_ids[::-1],
        FOUR_RANKS.among_all,
        FOUR_RANKS.among_new,
    )
    assert not FOUR_RANKS.is_of_same_examples(other)
