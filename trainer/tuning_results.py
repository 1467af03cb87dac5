"""What a search leaves for people: the best scenario, a table of all trials and a plot."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from configs.effects import alternatives_of
from configs.experiment import SearchRange
from configs.loading import override_scenario, save_scenario, with_effective_options
from configs.scenario import Scenario
from trainer.metrics import display_name
from trainer.tuning import Study, Trial, best_trial
from trainer.tuning_space import Space

_COLOUR, _BEST_COLOUR = "#0072B2", "#D55E00"
_PANELS_PER_ROW = 3


def trials_figure(trials: Sequence[Trial], metric: str, space: Space) -> Figure:
    """A panel over the trials with the best so far, and one per setting.

    Args:
      trials: in order; those without a result are left out.
      metric: by which they were judged.
      space: that was searched.
    """
    count = 1 + len(space)
    columns = min(count, _PANELS_PER_ROW)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.6 * columns, 0.4 + 2.8 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).ravel())
    complete = [trial for trial in trials if trial.value is not None]
    values = np.array([trial.value for trial in complete], np.float64)
    first, *others = panels
    numbers = [trial.number for trial in complete]
    first.plot(numbers, values, "o", color=_COLOUR, label="trial")
    first.plot(
        numbers,
        np.maximum.accumulate(values) if len(values) else values,
        color=_BEST_COLOUR,
        drawstyle="steps-post",
        label="best so far",
    )
    first.set_xlabel("trial")
    first.xaxis.set_major_locator(MaxNLocator(integer=True))
    first.legend(frameon=False)
    for axes, (key, searched) in zip(others, space.items(), strict=False):
        _setting_panel(axes, key, searched, complete, values)
    for axes in panels[::columns]:
        axes.set_ylabel(f"validation {display_name(metric)}")
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure


def _setting_panel(
    axes: Axes, key: str, searched: SearchRange, complete: Sequence[Trial], values: np.ndarray
) -> None:
    settings = [trial.settings[key] for trial in complete]
    if searched.choices is None:
        axes.plot(np.array(settings, np.float64), values, "o", color=_COLOUR)
        if searched.log:
            axes.set_xscale("log")
    else:
        texts = [_text(choice) for choice in searched.choices]
        places = [texts.index(_text(setting)) for setting in settings]
        axes.plot(places, values, "o", color=_COLOUR)
        axes.set_xticks(range(len(texts)), texts)
        axes.set_xlim(-0.5, len(texts) - 0.5)
    axes.set_xlabel(key)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


BEST_FILE, TABLE_FILE, PLOT_FILE = "best.yaml", "trials.csv", "trials.svg"


class BestTrial(TypedDict):
    """The best of all trials.

    Attributes:
      trial: its number.
      value: its validation result.
      settings: dotted key -> value.
      run: its run folder.
    """

    trial: int
    value: float
    settings: dict[str, object]
    run: str


class TuningResult(TypedDict):
    """Result of a search.

    Attributes:
      study: its folder.
      metric: the validation metric by which trials were judged.
      trials: how many there are.
      complete: of them, those with a result.
      failed: those whose settings could not be trained.
      pruned: those that were ended early.
      best: None if no trial has a result.
      best_config: file with the best scenario; None if there is none.
      trials_csv: file with one line per trial.
      plot: file with the plot.
    """

    study: str
    metric: str
    trials: int
    complete: int
    failed: int
    pruned: int
    best: BestTrial | None
    best_config: str | None
    trials_csv: str
    plot: str


def write_results(study: Study, scenario: Scenario, space: Space) -> TuningResult:
    """Writes best.yaml, trials.csv and trials.svg into the study's folder.

    Args:
      study: with all of its trials.
      scenario: that the settings are set in.
      space: that was searched.
    """
    trials = study.trials
    best = best_trial(trials)
    folder = study.folder
    _write_table(folder / TABLE_FILE, trials, study.metric, list(space))
    trials_figure(trials, study.metric, space).savefig(folder / PLOT_FILE)
    overall_best: BestTrial | None = None
    if best is not None and best.value is not None:
        chosen = override_scenario(scenario, {**best.settings, "run_dir": None})
        arm_settings = alternatives_of(chosen.experiment)
        save_scenario(with_effective_options(chosen, arm_settings), folder / BEST_FILE)
        overall_best = BestTrial(
            trial=best.number, value=best.value, settings=dict(best.settings), run=str(best.run)
        )
    states = [trial.state for trial in trials]
    return TuningResult(
        study=str(folder),
        metric=study.metric,
        trials=len(trials),
        complete=states.count("complete"),
        failed=states.count("failed"),
        pruned=states.count("pruned"),
        best=overall_best,
        best_config=None if overall_best is None else str(folder / BEST_FILE),
        trials_csv=str(folder / TABLE_FILE),
        plot=str(folder / PLOT_FILE),
    )


def _write_table(path: Path, trials: Sequence[Trial], metric: str, keys: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["trial", "state", f"validation_{metric}", "seconds", *keys, "run", "reason"]
        )
        for trial in trials:
            value = "" if trial.value is None else repr(trial.value)
            settings = [_text(trial.settings[key]) for key in keys]
            writer.writerow(
                [
                    *(trial.number, trial.state, value, trial.seconds),
                    *(*settings, trial.run, trial.reason),
                ]
            )
