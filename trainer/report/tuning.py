"""How the settings of every cell were found, and which they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.experiments.results import CellTuning
from trainer.metric_names import people_call
from trainer.report.inputs import ReportInputs
from trainer.report.plot_style import (
    PANELS_PER_ROW,
    colour_of,
    draw_legend,
    marker_of,
    panel_grid,
)
from trainer.report.table import NOTHING, Table, value_text
from trainer.tuning import best_trial


def ordered_tuning(inputs: ReportInputs) -> list[CellTuning]:
    """The searches ordered by backbone, then arm; also those of cells that failed later."""
    backbones = inputs.scenario.experiment.backbones

    def place(tuned: CellTuning) -> tuple[int, bool]:
        return backbones.index(tuned.backbone), tuned.knowledge != inputs.baseline

    return sorted(inputs.experiment.tuning, key=place)


def tuning_seconds(inputs: ReportInputs, backbone: str, knowledge: str) -> float | None:
    """Wall time of all trials of a cell; None without a search."""
    for tuned in inputs.experiment.tuning:
        if (tuned.backbone, tuned.knowledge) == (backbone, knowledge):
            return sum(trial.seconds for trial in tuned.trials)
    return None


def settings_table(tuning: Sequence[CellTuning]) -> Table:
    """The settings that were chosen for every cell, with their validation result."""
    keys = list(tuning[0].settings)
    rows = []
    for tuned in tuning:
        best = best_trial(tuned.trials)
        results = [trial.value for trial in tuned.trials if trial.value is not None]
        rows.append(
            (
                tuned.backbone,
                tuned.knowledge,
                *(value_text(tuned.settings[key]) for key in keys),
                f"{len(results)} of {len(tuned.trials)}",
                NOTHING if best is None else str(best.number),
                f"{max(results):.4f}",
                f"{min(results):.4f}",
            )
        )
    header = (
        "Backbone",
        "Knowledge",
        *keys,
        "Trials with a result",
        "Best trial",
        "Its validation",
        "The worst",
    )
    return Table(header, rows, text_columns=2)


def tuning_figure(inputs: ReportInputs, tuning: Sequence[CellTuning]) -> Figure:
    """Best validation result so far by trial, a panel per backbone and a line per arm."""
    backbones = list(dict.fromkeys(tuned.backbone for tuned in tuning))
    arms = list(dict.fromkeys(tuned.knowledge for tuned in tuning))
    figure, panels = panel_grid(len(backbones), panel_height=2.8)
    for axes, backbone in zip(panels, backbones, strict=True):
        for tuned in (found for found in tuning if found.backbone == backbone):
            complete = [trial for trial in tuned.trials if trial.value is not None]
            values = np.array([trial.value for trial in complete], np.float64)
            numbers = [trial.number for trial in complete]
            colour = colour_of(arms, tuned.knowledge, inputs.baseline)
            marker = marker_of(arms, tuned.knowledge, inputs.baseline)
            axes.plot(
                numbers, values, marker, color=colour, markersize=4, alpha=0.6, linestyle="none"
            )
            axes.plot(
                numbers,
                np.maximum.accumulate(values),
                color=colour,
                marker=marker,
                markevery=[-1],
                drawstyle="steps-post",
                label=tuned.knowledge,
            )
        axes.set_title(backbone)
        axes.set_xlabel("trial")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
    for axes in panels[::PANELS_PER_ROW]:
        axes.set_ylabel(f"validation {people_call(tuning[0].metric)}")
    draw_legend(figure)
    return figure
