"""The progress of an experiment on a screen: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table

from configs.command_line import say
from trainer.experiments.progress import CellProgress, Progress, duration_text

_NOTHING = "–"
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
        _NOTHING if cell.best_trial is None else f"{cell.best_trial:.4f}",
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
        return _NOTHING
    deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{deviation}"


def _now_text(cell: CellProgress) -> str:
    running = list(cell.running.values())[:_RUNNING_SHOWN]
    failures = [f"{what} failed" for what in cell.failures]
    return "; ".join([*failures, *running])
