from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.runs import rich_run, shared_store
from trainer.evaluation.runs import evaluate_scores_of, run_scores
from trainer.evaluation.slices import slice_names
from trainer.model_kinds import predictor_of

FILE_COLUMNS = {
    "din": ["user_id", "item_id", "label", "score"],
    "prm": ["list_id", "user_id", "item_id", "label", "score"],
    "two_tower": ["user_id", "item_id", "rank", "rank_new_items", "tied", "tied_new_items"],
}


@pytest.mark.parametrize("backbone", ["din", "prm", "two_tower"])
def test_a_run_has_the_metrics_of_predictions_in_memory(backbone: str, tmp_path: Path) -> None:
    run = rich_run(backbone)
    path = tmp_path / "scores.parquet"
    scores = run_scores(run.scenario, run.model, "test")
    actual = evaluate_scores_of(scores, slice_names(run.scenario), path)
    examples = shared_store().examples(run.scenario, run.model, "test")
    expected = predictor_of(run.model).predict(examples).metrics()
    assert {name: actual.metrics[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    table = pq.read_table(path)
    features = ["position", "profile_city", "profile_age"]
    assert table.column_names == [*FILE_COLUMNS[backbone], *features]
    assert table.num_rows == actual.metrics["n"]
    assert list(actual.slices) == slice_names(run.scenario)
    for groups in actual.slices.values():
        assert sum(metrics["share"] for metrics in groups.values()) == pytest.approx(
            sum(metrics["n"] for metrics in groups.values()) / table.num_rows
        )
        assert sum(metrics["n"] for metrics in groups.values()) >= table.num_rows


def test_the_file_is_enough_for_scikit_learn_and_only_as_wide_as_asked(tmp_path: Path) -> None:
    run = rich_run("din", tasks=True)
    path = tmp_path / "scores.parquet"
    actual = evaluate_scores_of(run_scores(run.scenario, run.model, "test"), (), path)
    table = pq.read_table(path).to_pandas()
    assert list(table) == [*FILE_COLUMNS["din"], "label_loved", "score_loved"]
    for metrics, suffix in ((actual.metrics, ""), (actual.metrics["tasks"]["loved"], "_loved")):
        labels, scores = table[f"label{suffix}"], table[f"score{suffix}"].astype(float)
        assert metrics["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert metrics["logloss"] == pytest.approx(log_loss(labels, scores), abs=1e-12)
    assert actual.slices == {}
