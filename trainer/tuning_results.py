"""What a search leaves for people: the best scenario, a table of all trials and a plot."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from configs.effects import alternatives_of
from configs.loading import override_scenario, save_scenario, with_effective_options
from configs.scenario import Scenario
from trainer.tuning import Study, Trial, best_trial
from trainer.tuning_plot import trials_figure
from trainer.tuning_space import Space

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
    found: BestTrial | None = None
    if best is not None and best.value is not None:
        chosen = override_scenario(scenario, {**best.settings, "run_dir": None})
        of_arms = alternatives_of(chosen.experiment)
        save_scenario(with_effective_options(chosen, of_arms), folder / BEST_FILE)
        found = BestTrial(
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
        best=found,
        best_config=None if found is None else str(folder / BEST_FILE),
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


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
