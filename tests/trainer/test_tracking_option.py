from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from configs.command_line import CommandError
from trainer.tracking import Tracking, add_tracking_option, tracking_address, tracking_of


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
