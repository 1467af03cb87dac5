"""Telling a tracking server about trainings: the option `--tracking` and what is told."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from configs.contract_versions import contract_version
from configs.scenario import Scenario

if TYPE_CHECKING:
    from trainer.metrics import AnyMetrics
    from trainer.run_folder import RunMetrics

EpochRow = Mapping[str, float]


def dotted_settings(
    section: Mapping[str, object], prefix: str = ""
) -> Iterator[tuple[str, str | float | bool]]:
    """Settings under dotted keys; lists and what else is no number, text or truth value as JSON."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from dotted_settings(value, f"{prefix}{key}.")
        else:
            is_plain = isinstance(value, str | float | int)
            yield f"{prefix}{key}", value if is_plain else json.dumps(value)  # type: ignore[misc]


class Tracking:
    """What a tracking server is told of a training; this base tells nobody."""

    def start_run(self, scenario: Scenario, folder: Path, tags: Mapping[str, str]) -> None:
        """A training begins, or goes on after an interruption.

        Args:
          scenario: its resolved scenario.
          folder: where the run folder will be.
          tags: what tells this run from others.

        Raises:
          CommandError: the server cannot be used.
        """

    def log_epoch(self, row: EpochRow) -> None:
        """An epoch has ended, with this row of history.csv; of resumed runs all rows come again."""

    def finish(self, folder: Path) -> None:
        """The training has ended, and its run folder is complete."""

    def abandon(self, reason: str) -> None:
        """The training has ended without a result."""

    def log_test(self, folder: Path, metrics: AnyMetrics) -> None:
        """A finished run was evaluated on the test part."""


def tracked_training(
    scenario: Scenario,
    tracking: Tracking,
    train: Callable[[Sequence[Callable[[EpochRow], None]]], RunMetrics],
    tags: Mapping[str, str] | None = None,
    on_epoch: Sequence[Callable[[EpochRow], None]] = (),
) -> RunMetrics:
    """Trains and tells a tracking of it.

    Args:
      scenario: the resolved scenario.
      tracking: is told.
      train: trains this scenario and calls what it is given with every row of history.csv.
      tags: beside those that every run has: code_version, fingerprint, backbone, seed.
      on_epoch: is also called with every row; whatever it raises ends the training.
    """
    from trainer.run_identity import default_run_folder
    from trainer.tables import data_fingerprint

    folder = default_run_folder(scenario).path
    own = {
        "code_version": contract_version("training"),
        "fingerprint": json.dumps(data_fingerprint(scenario), sort_keys=True),
        "backbone": scenario.model.backbone,
        "seed": str(scenario.training.seed),
    }
    tracking.start_run(scenario, folder, {**own, **(tags or {})})
    with _abandoned_on_error(tracking):
        result = train([tracking.log_epoch, *on_epoch])
    tracking.finish(folder)
    return result


@contextlib.contextmanager
def _abandoned_on_error(tracking: Tracking) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        tracking.abandon(str(error) or type(error).__name__)
        raise


ADDRESS_VARIABLE = "MLFLOW_TRACKING_URI"


def add_tracking_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--tracking`."""
    parser.add_argument(
        "--tracking",
        type=tracking_address,
        metavar="mlflow:URI",
        help="tell an MLflow server or file, e.g. mlflow:sqlite:///out/mlflow.db; 'mlflow' alone "
        f"takes {ADDRESS_VARIABLE}; user names, passwords and tokens come from the environment "
        "(needs requirements-tracking.txt)",
    )


def tracking_address(text: str) -> str:
    """The option's value after a check, for argparse's `type`; no message repeats it."""
    program, _, address = text.partition(":")
    if program != "mlflow":
        raise argparse.ArgumentTypeError("expected mlflow:URI, or mlflow alone")
    if not address:
        if not os.environ.get(ADDRESS_VARIABLE):
            raise argparse.ArgumentTypeError(
                f"'mlflow' without an address needs {ADDRESS_VARIABLE} in the environment"
            )
        return text
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise argparse.ArgumentTypeError("the address after 'mlflow:' is no URI") from error
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(
            "the address must hold no user name, password, token or options, since others can "
            f"read a command line; take them out and set {ADDRESS_VARIABLE}, or "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in "
            "the environment"
        )
    return text


def tracking_of(address: str | None, experiment: str) -> Tracking:
    """The tracking that a checked option names.

    Args:
      address: of `tracking_address`; None for no tracking.
      experiment: under which name the server lists the runs.

    Raises:
      CommandError: the client is not installed, or the server cannot be used.
    """
    if address is None:
        return Tracking()
    from trainer.mlflow_tracking import MlflowTracking

    uri = address.partition(":")[2] or os.environ[ADDRESS_VARIABLE]
    return MlflowTracking(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment)
