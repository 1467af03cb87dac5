"""MLflow as a tracking server, through its small client (mlflow-skinny)."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.command_line import CommandError, say
from configs.effects import training_settings
from configs.scenario import Scenario
from trainer.metrics import AnyMetrics, flat_metrics
from trainer.run_folder import RunFolder
from trainer.tracking import EpochRow, Tracking, dotted_settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_FOLDER_TAG, _SETTINGS_TAG = "run_folder_sha256", "settings_sha256"
_PARAMS_PER_CALL = 100
_LONGEST_PARAM, _LONGEST_TAG = 6000, 5000
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s'\"]+@")
_ENVIRONMENT = {
    # Nothing is told to anybody but the server that was named.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Standard output is for `--json`.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # The client's own default waits for minutes where nobody answers.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}


class MlflowTracking(Tracking):
    """Parameters, metrics, tags and small files of every run; no checkpoints.

    A server that fails once training has begun does not stop it: people are told, and the run
    folder has everything.
    """

    def __init__(self, uri: str, experiment: str):
        """Connects.

        Args:
          uri: of the server or file; never shown with credentials.
          experiment: name of the experiment; made if it does not exist.

        Raises:
          CommandError: the client is not installed, or the server cannot be used.
        """
        self._shown = without_credentials(uri)
        make_client = _client_class()
        try:
            self._client: MlflowClient = make_client(tracking_uri=_prepared(uri))
            known_experiment = self._client.get_experiment_by_name(experiment)
            self._experiment = (
                self._client.create_experiment(experiment, artifact_location=_artifacts(uri))
                if known_experiment is None
                else known_experiment.experiment_id
            )
        except Exception as error:
            raise self._unusable(error) from None
        self._run: str | None = None

    def start_run(self, scenario: Scenario, folder: Path, tags: Mapping[str, str]) -> None:
        """Makes a run, or goes on with the one of the same folder and settings that did not end."""
        settings = json.dumps(training_settings(scenario), sort_keys=True, default=str)
        own = {_FOLDER_TAG: _hash_of_folder(folder), _SETTINGS_TAG: _sha256(settings)}
        try:
            self._run = self._find(own, ended=False) or self._create(folder.name)
            for key, value in {**tags, **own, "run_folder": str(folder)}.items():
                self._client.set_tag(self._run, key, value[:_LONGEST_TAG])
            self._log_params(self._run, scenario)
        except Exception as error:
            raise self._unusable(error) from None

    def log_epoch(self, row: EpochRow) -> None:
        """Logs a row's numbers at the step of its epoch."""
        numbers = {name: value for name, value in row.items() if name != "epoch"}
        self._safely(lambda run: self._log_metrics(run, numbers, step=int(row["epoch"])))

    def finish(self, folder: Path) -> None:
        """Logs the final metrics and config.yaml, metrics.json and history.csv."""
        self._safely(lambda run: self._finish(run, RunFolder(folder)))
        self._run = None

    def abandon(self, reason: str) -> None:
        """Marks the run as failed, with the reason as a tag."""

        def fail(run: str) -> None:
            self._client.set_tag(run, "failure", without_credentials(reason)[:_LONGEST_TAG])
            self._client.set_terminated(run, "FAILED")

        self._safely(fail)
        self._run = None

    def log_test(self, folder: Path, metrics: AnyMetrics) -> None:
        """Adds test metrics to the run of a folder, if there is one."""
        tag = {_FOLDER_TAG: _hash_of_folder(folder)}
        numbers = {f"test_{name}": value for name, value in flat_metrics(metrics).items()}
        try:
            run = self._find(tag, ended=True)
            if run is not None:
                self._log_metrics(run, numbers)
        except Exception as error:
            self._say_that_it_failed(error)

    def _create(self, name: str) -> str:
        return self._client.create_run(self._experiment, run_name=name).info.run_id

    def _find(self, tags: Mapping[str, str], ended: bool) -> str | None:
        """The newest run with these tags, among those that have ended or those that have not."""
        conditions = [f"tags.{key} = '{value}'" for key, value in tags.items()]
        conditions.append(f"attributes.status {'=' if ended else '!='} 'FINISHED'")
        runs = self._client.search_runs([self._experiment], " and ".join(conditions), max_results=1)
        return runs[0].info.run_id if runs else None

    def _log_params(self, run: str, scenario: Scenario) -> None:
        from mlflow.entities import Param

        params = [
            Param(re.sub(r"[^\w\-. /]", "_", key), _shown(value))
            for key, value in dotted_settings(training_settings(scenario))
        ]
        for start in range(0, len(params), _PARAMS_PER_CALL):
            self._client.log_batch(run, params=params[start : start + _PARAMS_PER_CALL])

    def _log_metrics(self, run: str, numbers: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(
            run,
            metrics=[
                Metric(name, float(value), now, step)
                for name, value in numbers.items()
                if math.isfinite(value)
            ],
        )

    def _finish(self, run: str, folder: RunFolder) -> None:
        metrics = folder.read_metrics()
        best = flat_metrics(metrics["validation"])
        numbers = {f"best_validation_{name}": value for name, value in best.items()}
        for name in ("epochs", "best_epoch", "train_seconds", "train_samples", "trainable_weights"):
            numbers[name] = metrics[name]
        self._log_metrics(run, numbers)
        for path in (folder.config, folder.metrics, folder.history):
            text = without_credentials(path.read_text(encoding="utf-8"))
            self._client.log_text(run, text, path.name)
        self._client.set_terminated(run)

    def _safely(self, tell: Any) -> None:
        if self._run is None:
            return
        try:
            tell(self._run)
        except Exception as error:
            self._say_that_it_failed(error)
            self._run = None

    def _say_that_it_failed(self, error: Exception) -> None:
        say(f"warning: MLflow at {self._shown} was not told: {_first_line(error)}")

    def _unusable(self, error: Exception) -> CommandError:
        hint = ""
        if "MLFLOW_ALLOW_FILE_STORE" in str(error):
            hint = ". Name a database file, e.g. --tracking mlflow:sqlite:///out/mlflow.db"
        return CommandError(
            f"--tracking: MLflow at {self._shown} cannot be used: {_first_line(error)}{hint}"
        )


def without_credentials(text: str) -> str:
    """A text in which addresses have no user names, passwords and tokens."""
    return _CREDENTIALS.sub("***@", text)


def _client_class() -> type[MlflowClient]:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise CommandError(
            f"--tracking mlflow needs MLflow's client ({error}); run 'pip install -r "
            "requirements-tracking.txt'"
        ) from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient


def _prepared(uri: str) -> str:
    """The address, after the folder of a database file is made."""
    path = _file_of(uri)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    return uri


def _artifacts(uri: str) -> str | None:
    """Where files of runs go: beside a database file, and where the server says otherwise."""
    path = _file_of(uri)
    return None if path is None else (path.parent / f"{path.stem}_artifacts").absolute().as_uri()


def _file_of(uri: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)) if uri.startswith(prefix) else None


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return without_credentials(text)[:_LONGEST_PARAM]


def _hash_of_folder(folder: Path) -> str:
    return _sha256(str(folder.absolute()))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _first_line(error: Exception) -> str:
    return without_credentials(str(error).strip().partition("\n")[0] or type(error).__name__)
