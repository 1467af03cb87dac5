from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.contract_versions import contract_version
from configs.scenario import Scenario
from tests.runs import synthetic_metrics
from tests.scenarios import tiny_scenario
from trainer.tables import data_fingerprint
from trainer.tracking import (
    EpochRow,
    Tracking,
    add_tracking_option,
    tracked_training,
    tracking_address,
    tracking_of,
)


class Notes(Tracking):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def start_run(self, scenario: Scenario, folder: Path, tags: Mapping[str, str]) -> None:
        self.told.append((scenario, folder, dict(tags)))

    def log_epoch(self, row: EpochRow) -> None:
        self.told.append(row)

    def finish(self, folder: Path) -> None:
        self.told.append(f"finished {folder}")

    def abandon(self, reason: str) -> None:
        self.told.append(f"abandoned: {reason}")


def test_a_training_is_told_from_its_start_to_its_end(tmp_path: Path) -> None:
    scenario = tiny_scenario(run_dir=str(tmp_path / "run"), training__seed=4)
    notes, heard = Notes(), []
    result = synthetic_metrics(scenario)

    def train(listeners):
        for listener in listeners:
            listener({"epoch": 1})
        return result

    actual = tracked_training(scenario, notes, train, {"role": "trial 3"}, [heard.append])
    assert actual is result and heard == [{"epoch": 1}]
    (started, folder, tags), row, end = notes.told
    assert (started, folder) == (scenario, tmp_path / "run")
    assert tags == {
        "role": "trial 3",
        "backbone": "din",
        "seed": "4",
        "code_version": contract_version("training"),
        "fingerprint": json.dumps(data_fingerprint(scenario), sort_keys=True),
    }
    assert row == {"epoch": 1} and end == f"finished {tmp_path / 'run'}"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_training_that_fails_is_told_so(tmp_path: Path, error: BaseException) -> None:
    notes = Notes()

    def train(listeners):
        raise error

    with pytest.raises(type(error)):
        tracked_training(tiny_scenario(run_dir=str(tmp_path)), notes, train)
    assert notes.told[1:] == [f"abandoned: {str(error) or 'KeyboardInterrupt'}"]


@pytest.mark.parametrize(
    "address",
    [
        "mlflow:sqlite:///out/mlflow.db",
        "mlflow:http://localhost:5000",
        "mlflow:https://mlflow.example.org/team",
        "mlflow:databricks",
    ],
)
def test_addresses_without_secrets_are_taken(address: str) -> None:
    assert tracking_address(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "mlflow:https://ada:s3cret@mlflow.example.org",
        "mlflow:https://s3cret@mlflow.example.org",
        "mlflow:postgresql://ada:s3cret@database/mlflow",
        "mlflow:https://mlflow.example.org?token=s3cret",
        "mlflow:https://mlflow.example.org#s3cret",
        "s3cret",
        "wandb:s3cret",
        "mlflow:http://[s3cret",
    ],
)
def test_other_addresses_are_refused_and_never_repeated(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_tracking_option(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--tracking", address])
    errors = capsys.readouterr().err
    assert "--tracking" in errors and "s3cret" not in errors


def test_the_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(argparse.ArgumentTypeError, match="needs MLFLOW_TRACKING_URI"):
        tracking_address("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:s3cret@mlflow.example.org")
    assert tracking_address("mlflow") == "mlflow"


def test_without_an_address_nothing_is_told() -> None:
    assert type(tracking_of(None, "experiment")) is Tracking


def test_a_missing_client_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow.tracking", None)
    with pytest.raises(CommandError, match="pip install -r requirements-tracking.txt"):
        tracking_of(f"mlflow:sqlite:///{tmp_path}/mlflow.db", "experiment")
