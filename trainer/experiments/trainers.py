"""Who trains the runs of an experiment: this process, or a pool of others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from typing_extensions import override

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from trainer.examples import ExampleStore
from trainer.model_kinds import NotFiniteError, UntrainableError
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
          SettingFailed: the run's own settings are at fault; any other error is that of data,
            devices or files.
        """


Task = Callable[[Trainer], Sequence["Task"]]
"""Work for a trainer; it returns the tasks to do next and never raises."""


class TrainerPool(Protocol):
    """Does tasks, some of them at a time."""

    def run(self, tasks: Iterable[Task]) -> None:
        """Does tasks and what follows from them, to the end."""


class LocalTrainer(Trainer):
    """Trains in this process, one run at a time, and shares prepared examples between runs."""

    def __init__(self, store: ExampleStore, tracking: Tracking, progress: bool = False):
        """Trains over a store's examples and tells a tracking; `progress` shows a bar per run."""
        self._store = store
        self._tracking = tracking
        self._progress = progress

    @override
    def train(self, job: Job, on_epoch: Sequence[OnEpoch] = ()) -> RunMetrics:
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
        except (NotFiniteError, UntrainableError) as error:
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


_ROOT = Path(__file__).parents[__name__.count(".")]
_LINES_OF_A_LOG = 8


class WorkerPool:
    """Trains with several processes at a time."""

    def __init__(
        self,
        processes: int,
        threads: int | None,
        logs: Path,
        experiment: str,
        tracking: str | None,
    ):
        """Starts no process yet.

        Args:
          processes: how many.
          threads: of each; an equal share of the cores if None.
          logs: folder of what they print.
          experiment: its name in the tracking.
          tracking: checked address of a tracking.
        """
        threads = threads or max(1, len(os.sched_getaffinity(0)) // processes)
        self._workers = [
            TrainerProcess(threads, logs / f"worker{number}.log", experiment, tracking)
            for number in range(1, processes + 1)
        ]

    def run(self, tasks: Iterable[Task]) -> None:
        """Does tasks; what follows from a task comes before tasks that still wait."""
        waiting, idle = deque(tasks), list(self._workers)
        running: dict[Future[Sequence[Task]], TrainerProcess] = {}
        with ThreadPoolExecutor(len(self._workers)) as threads:
            try:
                while waiting or running:
                    while waiting and idle:
                        worker = idle.pop(0)
                        running[threads.submit(waiting.popleft(), worker)] = worker
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for finished in done:
                        idle.append(running.pop(finished))
                        waiting.extendleft(reversed(finished.result()))
            finally:
                # Their threads end when the processes do.
                for worker in self._workers:
                    worker.stop()


class TrainerProcess(Trainer):
    """Trains in a process of its own, which is started when it is needed and shared by runs."""

    def __init__(self, threads: int, log: Path, experiment: str, tracking: str | None):
        """Describes the process.

        Args:
          threads: that an operation may use.
          log: file of what it prints.
          experiment: its name in the tracking.
          tracking: checked address of a tracking.
        """
        self._threads = threads
        self._log = log
        self._options = ["--experiment", experiment]
        if tracking is not None:
            self._options += ["--tracking", tracking]
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    @override
    def train(self, job: Job, on_epoch: Sequence[OnEpoch] = ()) -> RunMetrics:
        """Trains a run in the worker's process.

        Raises:
          SettingFailed: the run's own settings are at fault.
          CommandError: the run failed otherwise, or the process died.
        """
        process = self._running()
        printed_before = self._log.stat().st_size
        described = {"scenario": job.scenario.model_dump(mode="json"), "tags": dict(job.tags)}
        try:
            _pipe(process.stdin).write(json.dumps(described) + "\n")
            _pipe(process.stdin).flush()
        except BrokenPipeError:
            raise self._died(process, printed_before) from None
        for line in _pipe(process.stdout):
            answer = json.loads(line)
            if "done" in answer:
                return answer["done"]
            if "failed" in answer:
                error = SettingFailed if answer["setting"] else CommandError
                raise error(answer["failed"])
            for listener in on_epoch:
                listener(answer["epoch"])
        raise self._died(process, printed_before)

    def stop(self) -> None:
        """Ends the process, whatever it is doing, for good."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _running(self) -> subprocess.Popen[str]:
        if self._stopped:
            raise CommandError("the experiment was stopped")
        if self._process is None:
            self._process = self._started()
        return self._process

    def _started(self) -> subprocess.Popen[str]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": str(self._threads),
            "OPENBLAS_NUM_THREADS": str(self._threads),
        }
        command = [sys.executable, "-m", "trainer.experiments.worker", *self._options]
        with self._log.open("a", encoding="utf-8") as log:
            return subprocess.Popen(
                [*command, "--threads", str(self._threads)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # An interrupt from the keyboard is for the experiment, which then stops this.
                start_new_session=True,
            )

    def _died(self, process: subprocess.Popen[str], printed_before: int) -> CommandError:
        code = process.wait()
        self._process = None
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return CommandError(
            f"the process that trained it {how}\n{_last_lines(self._log, printed_before)}".rstrip()
        )


def _last_lines(log: Path, offset: int) -> str:
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(offset)
        return "\n".join(file.read().rstrip().splitlines()[-_LINES_OF_A_LOG:])


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise ValueError("the process was started without this pipe")
    return pipe
