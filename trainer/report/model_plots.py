"""Plots of the models themselves: how they learned, and which experts they listen to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.experiments.results import RunResult
from trainer.inspection import GateWeights
from trainer.report.inputs import ReportInputs
from trainer.report.plot_style import (
    PANELS_PER_ROW,
    WIDTH_INCHES,
    colour_of,
    draw_legend,
    marker_of,
    panel_grid,
    source_colour_of,
)


def learning_figure(inputs: ReportInputs) -> Figure:
    """Validation result and training loss by epoch, a row per backbone, of seeds and their mean."""
    curves = {
        f"validation_{inputs.experiment.metric}": f"validation {inputs.metric_name}",
        "train_loss": "training loss (nats)",
    }
    figure = Figure(figsize=(WIDTH_INCHES, 0.5 + 2.7 * len(inputs.backbones)))
    grid = figure.subplots(len(inputs.backbones), len(curves), squeeze=False, sharex="row")
    for row, backbone in zip(grid, inputs.backbones, strict=True):
        for axes, (quantity, label) in zip(row, curves.items(), strict=True):
            for arm in inputs.arms:
                _learning_curves(axes, inputs, arm, backbone, quantity)
            axes.set_title(backbone)
            axes.set_ylabel(label)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="both")
    draw_legend(figure)
    return figure


def _learning_curves(
    axes: Axes, inputs: ReportInputs, arm: str, backbone: str, quantity: str
) -> None:
    runs: Sequence[RunResult] = inputs.experiment.runs_of(backbone, arm)
    if not runs:
        return
    colour = colour_of(inputs.arms, arm, inputs.baseline)
    marker = marker_of(inputs.arms, arm, inputs.baseline)
    for run in runs:
        epochs = [row["epoch"] for row in run.history]
        values = [row[quantity] for row in run.history]
        axes.plot(epochs, values, color=colour, linewidth=0.8, alpha=0.55)
        best = int(np.argmax([row[f"validation_{run.selection_metric}"] for row in run.history]))
        axes.plot(
            epochs[best],
            values[best],
            color=colour,
            marker=marker,
            markersize=4.5,
            alpha=0.9,
        )
    # Beyond the first early stop a mean would jump as runs drop out of it.
    common = min(len(run.history) for run in runs)
    mean = np.mean([[row[quantity] for row in run.history[:common]] for run in runs], axis=0)
    axes.plot(
        [row["epoch"] for row in runs[0].history[:common]],
        mean,
        color=colour,
        linewidth=2.4,
    )
    axes.plot([], [], color=colour, linewidth=2.4, marker=marker, label=arm)


def gate_figure(gates: Mapping[str, GateWeights]) -> Figure:
    """Mean gate weights, a panel per backbone and arm; shared experts on a shaded ground."""
    sources = list(dict.fromkeys(source for cell in gates.values() for source in cell.by_source))
    figure, panels = panel_grid(len(gates), panel_height=2.5)
    for axes, (cell, weights) in zip(panels, gates.items(), strict=True):
        _gate_panel(axes, sources, weights.by_source, weights.num_shared_experts)
        axes.set_title(cell.replace("/", "   "))
    for axes in panels[::PANELS_PER_ROW]:
        axes.set_ylabel("mean gate weight")
    draw_legend(figure)
    return figure


def _gate_panel(
    axes: Axes,
    sources: Sequence[str],
    by_source: Mapping[str, np.ndarray],
    num_shared_experts: int,
) -> None:
    num_experts = max(len(weights) for weights in by_source.values())
    width = 0.8 / len(by_source)
    if num_shared_experts:
        axes.axvspan(
            -0.5, num_shared_experts - 0.5, color="#eef1f4", zorder=0, label="shared experts"
        )
    axes.axhline(
        1 / num_experts,
        color="#444444",
        linewidth=1.0,
        linestyle=(0, (4, 3)),
        label="all experts alike",
    )
    for number, (source, weights) in enumerate(by_source.items()):
        places = np.arange(len(weights)) + (number - (len(by_source) - 1) / 2) * width
        axes.bar(
            places, weights, width * 0.92, color=source_colour_of(sources, source), label=source
        )
    names = [
        f"S{n + 1}" if n < num_shared_experts else f"D{n - num_shared_experts + 1}"
        for n in range(num_experts)
    ]
    axes.set_xticks(range(num_experts), names)
    axes.set_xlim(-0.5, num_experts - 0.5)
    axes.set_xlabel("expert")
    axes.grid(axis="y")
