"""How far an experiment has come, and how that is shown."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from configs.command_line import say
from configs.scenario import Scenario
from trainer.evaluation.reports import NOTHING
from trainer.experiments.grid import Cell
from trainer.metrics import display_name
from trainer.run_folder import RunMetrics
from trainer.tracking import EpochRow
from trainer.tuning import Trial

TUNING = "tuning"
"""What is called so among the things that are done for a cell."""


@dataclass
class CellProgress:
    """How far one cell has come.

    Attributes:
      backbone: registry name.
      arm: name of the arm.
      planned_trials: that it is to have.
      trials: trials that have ended.
      best_trial: the best validation result of them.
      validation: results of the seeds that are done.
      failures: what could not be done.
      running: what is being done -> the last thing known of it.
    """

    backbone: str
    arm: str
    planned_trials: int = 0
    trials: int = 0
    best_trial: float | None = None
    validation: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    running: dict[str, str] = field(default_factory=dict)


class Progress:
    """Takes note of what happens in an experiment; several threads may tell it.

    Attributes:
      cells: in the order of the experiment.
      seeds: that every cell is to be trained with.
      done: trainings that have ended, failed ones included.
      total: trainings of the whole experiment.
      lock: held while anything here changes.
    """

    def __init__(
        self,
        scenario: Scenario,
        cells: Sequence[Cell],
        processes: int,
        say: Callable[[str], None] = lambda line: None,
    ):
        """Starts without finished work.

        Args:
          scenario: of the experiment.
          cells: all of them.
          processes: runs at a time.
          say: is told every event in a line.
        """
        search_of = scenario.experiment.search_of
        self.cells = [
            CellProgress(cell.backbone, cell.arm, search_of(cell.arm).trials) for cell in cells
        ]
        self.seeds = len(scenario.experiment.seeds)
        self.done = 0
        self.total = sum(cell.planned_trials + self.seeds for cell in self.cells)
        self.lock = threading.Lock()
        self._by_name = dict(zip((cell.name for cell in cells), self.cells, strict=True))
        self._seconds: dict[str, list[float]] = {}
        self._processes = processes
        self._say = say

    def begin(self, cell: Cell, what: str) -> None:
        """A training begins."""
        with self.lock:
            self._by_name[cell.name].running[what] = what

    def epoch(self, cell: Cell, what: str, row: EpochRow) -> None:
        """An epoch of a training has ended."""
        name, value = _main_metric(row)
        shown = f"{what}, epoch {row['epoch']:.0f}: {display_name(name)} {value:.4f}"
        with self.lock:
            self._by_name[cell.name].running[what] = shown

    def trial(self, cell: Cell, trial: Trial) -> None:
        """A trial is there, tried now or before."""
        what = f"trial {trial.number}"
        settings = ", ".join(f"{key}={value}" for key, value in trial.settings.items())
        value = trial.reason if trial.value is None else f"validation {trial.value:.4f}"
        with self.lock:
            state = self._end(cell, what, trial.seconds)
            state.trials += 1
            if trial.value is not None:
                state.best_trial = max(trial.value, state.best_trial or trial.value)
            line = f"{self._place()} {cell.name}, {what} ({settings}): {value}{self._rest()}"
        self._say(line)

    def run(self, cell: Cell, what: str, metrics: RunMetrics, reused: bool) -> None:
        """A run is there, trained now or before."""
        metric = metrics["selection_metric"]
        value = metrics["validation"][metric]
        result = (
            f"validation {display_name(metric)} {value:.4f}, {metrics['epochs']} epochs, "
            f"{metrics['train_seconds']:.0f} s" + (" (already trained)" if reused else "")
        )
        with self.lock:
            self._end(cell, what, metrics["train_seconds"]).validation.append(value)
            line = f"{self._place()} {cell.name}, {what}: {result}{self._rest()}"
        self._say(line)

    def failure(self, cell: Cell, what: str, reason: str) -> None:
        """Counts a failure of a cell; a cell whose tuning failed has no runs either.

        Args:
          cell: the cell.
          what: `TUNING`, or a run.
          reason: the last lines of the error.
        """
        lines = "\n  ".join(reason.splitlines())
        with self.lock:
            state = self._by_name[cell.name]
            self.done += self._trainings_left(state) if what == TUNING else 1
            state.failures.append(what)
            if what == TUNING:
                state.running.clear()
            state.running.pop(what, None)
            line = f"{self._place()} {cell.name}, {what}: FAILED\n  {lines}"
        self._say(line)

    def seconds_left(self) -> float | None:
        """Estimate from trainings of the same backbone, or of all; None before the first one."""
        everything = [seconds for durations in self._seconds.values() for seconds in durations]
        if not everything:
            return None
        left = 0.0
        for cell in self.cells:
            same_backbone = self._seconds.get(cell.backbone, everything)
            left += self._trainings_left(cell) * float(np.mean(same_backbone))
        return left / self._processes

    def _trainings_left(self, cell: CellProgress) -> int:
        if TUNING in cell.failures:
            return 0
        ended = cell.trials + len(cell.validation) + len(cell.failures)
        return max(0, cell.planned_trials + self.seeds - ended)

    def _end(self, cell: Cell, what: str, seconds: float) -> CellProgress:
        state = self._by_name[cell.name]
        state.running.pop(what, None)
        self.done += 1
        self._seconds.setdefault(cell.backbone, []).append(seconds)
        return state

    def _place(self) -> str:
        return f"[{self.done}/{self.total}]"

    def _rest(self) -> str:
        left = self.seconds_left()
        return "" if not left else f"; {duration_text(left)} left"


def duration_text(seconds: float) -> str:
    """A duration for people, e.g. "about 40 s", "about 3 min", "about 2 h 10 min"."""
    if seconds < 60:
        return f"about {seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min"
    return f"about {minutes // 60} h {minutes % 60} min"


def _main_metric(row: EpochRow) -> tuple[str, float]:
    names: Mapping[str, float] = {
        name.removeprefix("validation_"): value for name, value in row.items()
    }
    for name in ("ndcg_at_10", "new_items_recall_at_10", "auc"):
        if name in names:
            return name, names[name]
    return "loss", row["train_loss"]


_RUNNING_SHOWN = 2
_CELLS_IN_ORDER = 20


@contextlib.contextmanager
def displayed(
    make: Callable[[Callable[[str], None]], Progress], terminal: bool | None = None
) -> Iterator[Progress]:
    """Shows a progress on standard error while the block runs.

    Args:
      make: creates the progress, which tells every event to what it is given.
      terminal: whether standard error is a terminal; found out if None.
    """
    if not (sys.stderr.isatty() if terminal is None else terminal):
        yield make(say)
        return
    console = Console(stderr=True, force_terminal=True)
    progress = make(
        lambda line: (
            console.print(line, markup=False, highlight=False) if "FAILED" in line else None
        )
    )
    with Live(
        get_renderable=lambda: progress_table(progress), console=console, refresh_per_second=2
    ) as live:
        yield progress
        live.refresh()


def progress_table(progress: Progress) -> Table:
    """A row per cell."""
    with progress.lock:
        left = progress.seconds_left()
        failed = sum(len(cell.failures) for cell in progress.cells)
        table = Table(
            title=f"{progress.done} of {progress.total} trainings"
            + (f", {failed} failed" if failed else "")
            + (f", {duration_text(left)} left" if left else "")
        )
        for name in ("Backbone", "Arm"):
            table.add_column(name)
        for name in (*(["Trials", "Best"] if _has_trials(progress) else []), "Seeds"):
            table.add_column(name, justify="right")
        table.add_column("Validation, mean ± deviation", justify="right")
        table.add_column("Now")
        cells = progress.cells
        if len(cells) > _CELLS_IN_ORDER:
            # A terminal shows the top of a long table.
            cells = sorted(cells, key=lambda cell: not (cell.running or cell.failures))
        for cell in cells:
            table.add_row(*_row(progress, cell))
    return table


def _row(progress: Progress, cell: CellProgress) -> list[str]:
    trials = [
        f"{cell.trials}/{cell.planned_trials}",
        NOTHING if cell.best_trial is None else f"{cell.best_trial:.4f}",
    ]
    return [
        cell.backbone,
        cell.arm,
        *(trials if _has_trials(progress) else []),
        f"{len(cell.validation)}/{progress.seeds}",
        _mean_text(cell.validation),
        _now_text(cell),
    ]


def _has_trials(progress: Progress) -> bool:
    return any(cell.planned_trials for cell in progress.cells)


def _mean_text(values: list[float]) -> str:
    if not values:
        return NOTHING
    deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{deviation}"


def _now_text(cell: CellProgress) -> str:
    running = list(cell.running.values())[:_RUNNING_SHOWN]
    failures = [f"{what} failed" for what in cell.failures]
    return "; ".join([*failures, *running])
