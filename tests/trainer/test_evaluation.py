from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from configs.command_line import CommandError
from tests.runs import raw_requests, shared_store, written_run
from trainer.evaluation import Predictions, compare_predictions, predict_run


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    return predict_run(written_run().folder.path, "test", shared_store())


def test_a_runs_predictions_are_its_models_scores(predictions: Predictions) -> None:
    run = written_run()
    raw = raw_requests(run.scenario)
    expected = run.model.probabilities(raw).numpy()
    np.testing.assert_allclose(predictions.scores, expected, atol=1e-6)
    assert predictions.user_ids.tolist() == [user.decode() for user in raw["user_id"].numpy()]
    assert predictions.item_ids.tolist() == [item.decode() for item in raw["item_id"].numpy()]


def test_without_a_store_the_result_is_the_same(predictions: Predictions) -> None:
    again = predict_run(str(written_run().folder.path), "test")
    np.testing.assert_array_equal(again.scores, predictions.scores)


def test_the_file_holds_all_samples_and_sklearn_agrees_on_it(
    predictions: Predictions, tmp_path: Path
) -> None:
    path = tmp_path / "new_folder" / "scores.parquet"
    predictions.write(path)
    assert [file.name for file in path.parent.iterdir()] == ["scores.parquet"]
    table = pd.read_parquet(path)
    assert list(table.columns) == ["user_id", "item_id", "label", "score"]
    np.testing.assert_array_equal(table.user_id, predictions.user_ids)
    np.testing.assert_array_equal(table.item_id, predictions.item_ids)
    np.testing.assert_array_equal(table.label, predictions.labels)
    np.testing.assert_array_equal(table.score, predictions.scores)

    metrics = predictions.metrics()
    assert metrics["n"] == len(table)
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


def test_comparison_averages_the_seeds(predictions: Predictions) -> None:
    perfect = dataclasses.replace(predictions, scores=predictions.labels)
    reverse = dataclasses.replace(predictions, scores=1 - predictions.labels)
    result = compare_predictions([predictions], [perfect, reverse, perfect], resamples=50, seed=3)
    assert result.auc_baseline == pytest.approx(predictions.metrics()["auc"])
    assert result.auc_candidate == pytest.approx(2 / 3)
    assert result.difference == pytest.approx(result.auc_candidate - result.auc_baseline)
    assert result.low < result.difference < result.high
    again = compare_predictions([predictions], [perfect, reverse, perfect], resamples=50, seed=3)
    assert again == result


def test_comparison_with_itself_is_zero(predictions: Predictions) -> None:
    result = compare_predictions([predictions], [predictions], resamples=20, seed=0)
    assert (result.difference, result.low, result.high) == (0.0, 0.0, 0.0)


def one_row_less(predictions: Predictions) -> Predictions:
    return Predictions(
        predictions.user_ids[1:],
        predictions.item_ids[1:],
        predictions.labels[1:],
        predictions.scores[1:],
    )


@pytest.mark.parametrize("difference", ["one row less", "user_ids", "item_ids", "labels"])
def test_other_samples_are_refused(predictions: Predictions, difference: str) -> None:
    if difference == "one row less":
        other = one_row_less(predictions)
    else:
        values = getattr(predictions, difference).copy()
        values[0] = 1 - values[0] if difference == "labels" else "other"
        other = dataclasses.replace(predictions, **{difference: values})
    for sides in (([predictions], [other]), ([predictions, other], [predictions])):
        with pytest.raises(CommandError, match="different samples"):
            compare_predictions(*sides, resamples=10, seed=0)
