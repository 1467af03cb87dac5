from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from configs.command_line import CommandError
from configs.scenario import Scenario
from tests.runs import synthetic_metrics
from tests.scenarios import tiny_scenario
from trainer.run_folder import RunFolder

mlflow = pytest.importorskip(
    "mlflow", reason="needs MLflow's client: pip install -r requirements-tracking.txt"
)
pytest.importorskip("sqlalchemy", reason="a database file needs SQLAlchemy")

from mlflow.tracking import MlflowClient  # noqa: E402

from trainer.mlflow_tracking import MlflowTracking, without_credentials  # noqa: E402

ROWS = [
    {"epoch": 1, "train_loss": 0.6, "validation_auc": 0.7},
    {"epoch": 2, "train_loss": 0.5, "validation_auc": 0.75, "validation_gauc": float("nan")},
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('tracking')}/deep/mlflow.db"


def written(folder: Path) -> Scenario:
    """A run folder as training leaves it, but for the checkpoint."""
    scenario = tiny_scenario(
        run_dir=str(folder),
        model__match="ridge",
        knowledge__encoder__base_url="https://ada:s3cret@vectors.example.org/v1",
    )
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    run.config.write_text("base_url: https://ada:s3cret@vectors.example.org/v1\n")
    run.history.write_text("epoch,train_loss\n1,0.5\n")
    run.metrics.write_text(json.dumps(synthetic_metrics(scenario)))
    return scenario


def runs_of(address: str, experiment: str) -> list[Any]:
    client = MlflowClient(tracking_uri=address)
    collected = client.get_experiment_by_name(experiment)
    return client.search_runs([collected.experiment_id], order_by=["attributes.start_time ASC"])


def test_a_run_has_parameters_metrics_tags_and_small_files(address: str, tmp_path: Path) -> None:
    scenario = written(tmp_path / "run")
    tracking = MlflowTracking(address, "whole")
    tracking.start_run(scenario, tmp_path / "run", {"code_version": "abc", "seed": "1"})
    for row in ROWS:
        tracking.log_epoch(row)
    tracking.finish(tmp_path / "run")
    tracking.log_test(tmp_path / "run", {"auc": 0.71, "n": 9})
    (run,) = runs_of(address, "whole")
    assert run.info.status == "FINISHED" and run.info.run_name == "run"
    assert run.data.params["model.match"] == "ridge"
    assert run.data.params["training.learning_rate"] == "0.01"
    assert run.data.params["knowledge.sources"] == '["item", "user"]'
    assert len(run.data.params) > 100
    metrics = run.data.metrics
    assert metrics["validation_auc"] == 0.75 and metrics["train_loss"] == 0.5
    assert metrics["best_validation_auc"] == 0.75 and metrics["epochs"] == 1
    assert metrics["test_auc"] == 0.71
    assert "validation_gauc" not in metrics
    assert run.data.tags["code_version"] == "abc"
    assert run.data.tags["run_folder"] == str(tmp_path / "run")
    client = MlflowClient(tracking_uri=address)
    history = client.get_metric_history(run.info.run_id, "validation_auc")
    assert [(point.step, point.value) for point in history] == [(1, 0.7), (2, 0.75)]
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"config.yaml", "metrics.json", "history.csv"}
    assert Path(address.removeprefix("sqlite:///")).parent / "mlflow_artifacts" in (
        Path(run.info.artifact_uri.removeprefix("file://")).parents
    )


def test_no_credentials_reach_the_server(address: str, tmp_path: Path) -> None:
    scenario = written(tmp_path / "run")
    tracking = MlflowTracking(address, "secrets")
    tracking.start_run(scenario, tmp_path / "run", {})
    tracking.finish(tmp_path / "run")
    (run,) = runs_of(address, "secrets")
    url = "https://***@vectors.example.org/v1"
    assert run.data.params["knowledge.encoder.base_url"] == url
    client = MlflowClient(tracking_uri=address)
    config = client.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path))
    assert Path(config).read_text() == f"base_url: {url}\n"


def test_a_resumed_training_goes_on_in_its_run(address: str, tmp_path: Path) -> None:
    scenario = written(tmp_path / "run")
    killed = MlflowTracking(address, "resumed")
    killed.start_run(scenario, tmp_path / "run", {})
    killed.log_epoch(ROWS[0])
    again = MlflowTracking(address, "resumed")
    again.start_run(scenario, tmp_path / "run", {})
    for row in ROWS:
        again.log_epoch(row)
    again.finish(tmp_path / "run")
    (run,) = runs_of(address, "resumed")
    assert run.info.status == "FINISHED"
    again.start_run(scenario, tmp_path / "run", {})
    other = tiny_scenario(run_dir=str(tmp_path / "run"), training__epochs=7)
    MlflowTracking(address, "resumed").start_run(other, tmp_path / "run", {})
    assert len(runs_of(address, "resumed")) == 3


def test_a_failed_training_says_why(address: str, tmp_path: Path) -> None:
    tracking = MlflowTracking(address, "failed")
    tracking.start_run(written(tmp_path / "run"), tmp_path / "run", {})
    tracking.abandon("https://ada:s3cret@host: the loss is nan")
    (run,) = runs_of(address, "failed")
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"] == "https://***@host: the loss is nan"


def test_a_server_that_goes_away_does_not_stop_a_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = tmp_path / "tracking" / "mlflow.db"
    tracking = MlflowTracking(f"sqlite:///{database}", "gone")
    scenario = written(tmp_path / "run")
    tracking.start_run(scenario, tmp_path / "run", {})
    database.write_bytes(b"not a database any more" * 100)
    tracking.log_epoch(ROWS[0])
    tracking.log_epoch(ROWS[1])
    tracking.finish(tmp_path / "run")
    errors = capsys.readouterr().err
    assert errors.count("warning: MLflow at sqlite:///") == 1


def test_a_server_that_cannot_be_used_is_an_error_without_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(CommandError, match="cannot be used") as raised:
        MlflowTracking("http://ada:s3cret@127.0.0.1:9", "nowhere")
    assert "s3cret" not in str(raised.value) and "http://***@127.0.0.1:9" in str(raised.value)


def test_a_folder_is_no_place_for_runs_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(CommandError, match="Name a database file, e.g. --tracking mlflow:sqlite"):
        MlflowTracking(str(tmp_path / "mlruns"), "folder")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ada:s3cret@database/mlflow", "postgresql://***@database/mlflow"),
        (
            "see https://token@host/a?x=1 and http://host",
            "see https://***@host/a?x=1 and http://host",
        ),
        ("sqlite:////work/a@b.db", "sqlite:////work/a@b.db"),
    ],
)
def test_credentials_are_taken_out_of_texts(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
