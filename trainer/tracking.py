"""Telling a tracking server about trainings."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.scenario import Scenario

if TYPE_CHECKING:
    from trainer.metrics import AnyMetrics
    from trainer.run_folder import RunMetrics

EpochRow = Mapping[str, float]


class Tracking:
    """What is told of a training. This one keeps it to itself."""

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
    from trainer.run_folder import training_code_version
    from trainer.run_name import default_run_folder
    from trainer.tables import fingerprint

    folder = default_run_folder(scenario).path
    own = {
        "code_version": training_code_version(),
        "fingerprint": json.dumps(fingerprint(scenario), sort_keys=True),
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
