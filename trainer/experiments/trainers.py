"""Who trains the runs of an experiment: this process, or others."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from trainer.prediction import NotFiniteError
from trainer.preparation import ExampleStore
from trainer.run_folder import RunMetrics
from trainer.tracking import EpochRow, Tracking, tracked_training
from trainer.training import train
from trainer.tuning import SettingFailed

OnEpoch = Callable[[EpochRow], None]

_LINES_OF_A_TRACEBACK = 8


@dataclass(frozen=True)
class Job:
    """A run that is to be trained.

    Attributes:
      scenario: with its run folder.
      tags: what a tracking is told of it.
    """

    scenario: Scenario
    tags: Mapping[str, str] = field(default_factory=dict)


class Trainer(Protocol):
    """Trains one run at a time."""

    def train(self, job: Job, on_epoch: Sequence[OnEpoch] = ()) -> RunMetrics:
        """Trains a run.

        Args:
          job: the run.
          on_epoch: called with every row of history.csv.

        Raises:
          SettingFailed: the run's own settings are at fault.
        """


Task = Callable[[Trainer], Sequence["Task"]]
"""Something to do with a trainer; it returns what is to be done next and raises nothing."""


class TrainerPool(Protocol):
    """Does tasks, some of them at a time."""

    def run(self, tasks: Iterable[Task]) -> None:
        """Does tasks and what follows from them, to the end."""


class LocalTrainer:
    """Trains in this process, one run at a time, and shares prepared examples between runs."""

    def __init__(self, store: ExampleStore, tracking: Tracking, progress: bool = False):
        """Trains over a store's examples and tells a tracking; `progress` shows a bar per run."""
        self._store = store
        self._tracking = tracking
        self._progress = progress

    def train(self, job: Job, on_epoch: Sequence[OnEpoch] = ()) -> RunMetrics:
        """See `Trainer`."""
        try:
            return tracked_training(
                job.scenario,
                self._tracking,
                lambda listeners: train(
                    job.scenario, self._store, progress=self._progress, on_epoch=listeners
                ),
                job.tags,
                on_epoch,
            )
        except (NotFiniteError, ConfigurationError) as error:
            raise SettingFailed(str(error)) from error

    def run(self, tasks: Iterable[Task]) -> None:
        """Does one task after the other; what follows from a task comes right after it."""
        waiting = deque(tasks)
        while waiting:
            waiting.extendleft(reversed(waiting.popleft()(self)))


def reason_text(error: BaseException) -> str:
    """What people read of an error: its message, or the end of the traceback of one of ours."""
    expected = (SettingFailed, CommandError, ConfigurationError, OSError)
    if isinstance(error, expected):
        return str(error)
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return "\n".join(lines[-_LINES_OF_A_TRACEBACK:])
