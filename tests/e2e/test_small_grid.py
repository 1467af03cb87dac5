from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.movielens_small import control_answers
from preprocessing.__main__ import main as preprocess
from trainer.__main__ import main as train

CONFIG = "configs/experiments/movielens_small_grid.yaml"


@pytest.mark.slow
def test_the_small_grid_runs_on_the_bundled_sample(
    repository_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One seed and one epoch, and an encoder without a model file."""
    monkeypatch.chdir(repository_root)
    assert control_answers.main(["--out", str(tmp_path / "answers")]) == 0
    options = [
        *("--config", CONFIG, f"work_dir={tmp_path}/work", "knowledge.encoder.kind=tfidf"),
        f"knowledge.answers.item_collective.collective=[{tmp_path}/answers/item_collective.jsonl]",
        *("experiment.seeds=[1]", "training.epochs=1", "evaluation.bootstrap_resamples=240"),
    ]
    assert preprocess(["all", *options]) == 0
    capsys.readouterr()
    assert train(["experiment", *options, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    results = json.loads(Path(summary["results"]).read_text())
    assert len(results["runs"]) == 7 and results["failures"] == []
    assert all(run["test"]["auc"] > 0.7 for run in results["runs"])
    assert results["leak_violations"] == 0
    differences = {row["knowledge"]: row for row in results["comparisons"]}
    assert len(differences) == 6
    assert differences["hein_ridge_individual"]["difference"] > 0
    assert all(row["p_value_holm"] >= 6 * 2 / 241 for row in results["comparisons"])
