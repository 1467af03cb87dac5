from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scenarios import tiny_config
from trainer.__main__ import main


def test_a_tracked_training_is_in_the_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow", reason="needs requirements-tracking.txt")
    from mlflow.tracking import MlflowClient

    address = f"sqlite:///{tmp_path}/mlflow.db"
    capsys.readouterr()
    code = main(
        [
            *("train", "--config", str(tiny_config()), "--json", "--tracking", f"mlflow:{address}"),
            *("model.adapter=none", "training.epochs=2", f"run_dir={tmp_path}/run"),
        ]
    )
    assert code == 0
    result = json.loads(capsys.readouterr().out)
    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("tiny")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.metrics["best_validation_auc"] == result["validation"]["auc"]
    steps = [one.step for one in client.get_metric_history(run.info.run_id, "validation_auc")]
    assert steps == [1, 2]
    assert run.data.params["model.adapter"] == "none"
    assert run.data.tags["backbone"] == "din"
