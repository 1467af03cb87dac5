"""Plots of the results: quality by model, and the effect of knowledge by item popularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.experiments.results import Comparison
from trainer.report.cells import Cell
from trainer.report.inputs import ReportInputs
from trainer.report.marks import mark
from trainer.report.plot_style import (
    PANELS_PER_ROW,
    WIDTH_INCHES,
    colour_of,
    draw_legend,
    draw_zero_line,
    marker_of,
    panel_grid,
)
from trainer.report.slices import BUCKETS, PopularitySlice


def quality_figure(inputs: ReportInputs, cells: Sequence[Cell]) -> Figure:
    """Main test metric of every backbone and arm; beside it the difference to the baseline."""
    figure = Figure(figsize=(WIDTH_INCHES, 1.3 + 0.42 * len(cells)))
    value_axes, difference_axes = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    arms, baseline = inputs.arms, inputs.baseline
    backbones = list(dict.fromkeys(cell.backbone for cell in cells))
    # Half a row of space between backbones.
    places = [row + 0.5 * backbones.index(cell.backbone) for row, cell in enumerate(cells)]
    for place, cell in zip(places, cells, strict=True):
        style = {
            "color": colour_of(arms, cell.knowledge, baseline),
            "marker": marker_of(arms, cell.knowledge, baseline),
            "linestyle": "none",
        }
        whiskers = {"elinewidth": 1.8, "capsize": 3.5, "markersize": 6.5, "zorder": 3, **style}
        value_axes.errorbar(
            cell.value, place, xerr=_whiskers(cell.value, cell.low, cell.high), **whiskers
        )
        value_axes.plot(
            cell.seed_values,
            np.full(len(cell.seed_values), place + 0.27),
            markersize=3.6,
            alpha=0.75,
            zorder=4,
            **style,
        )
        if cell.comparison is not None:
            _draw_difference(difference_axes, place, cell.comparison, whiskers)
        elif cell.knowledge == baseline:
            difference_axes.text(
                0.0, place, "  baseline", color="#5f6368", va="center", fontstyle="italic"
            )
    name = inputs.metric_name
    value_axes.set_yticks(places, [f"{cell.backbone}   {cell.knowledge}" for cell in cells])
    value_axes.invert_yaxis()
    value_axes.grid(axis="x")
    value_axes.set_xlabel(f"test {name}")
    value_axes.set_title(f"Test {name}: mean, 95 % interval, seeds (small marks)")
    draw_zero_line(difference_axes, across="x")
    difference_axes.grid(axis="x")
    difference_axes.tick_params(axis="y", length=0)
    difference_axes.set_xlabel(f"difference of test {name} to the arm '{baseline}'")
    difference_axes.set_title("Paired difference, 95 % interval")
    return figure


def _draw_difference(
    axes: Axes, place: float, comparison: Comparison, whiskers: Mapping[str, Any]
) -> None:
    found = comparison.difference
    axes.errorbar(
        found.difference,
        place,
        xerr=_whiskers(found.difference, found.low, found.high),
        **whiskers,
    )
    axes.annotate(
        mark(comparison),
        (max(found.high, found.difference), place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
    )


def popularity_figure(inputs: ReportInputs, slices: Sequence[PopularitySlice]) -> Figure:
    """AUC difference by the candidate item's training interactions, a panel per backbone."""
    backbones = list(dict.fromkeys(found.backbone for found in slices))
    figure, panels = panel_grid(len(backbones), panel_height=3.4)
    for axes, backbone in zip(panels, backbones, strict=True):
        _popularity_panel(axes, inputs, [found for found in slices if found.backbone == backbone])
        axes.set_title(backbone)
        axes.set_xlabel("training interactions of the item (n test samples)")
    for axes in panels[::PANELS_PER_ROW]:
        axes.set_ylabel(f"difference of test AUC\nto the arm '{inputs.baseline}'")
    draw_legend(figure)
    return figure


def _popularity_panel(axes: Axes, inputs: ReportInputs, slices: Sequence[PopularitySlice]) -> None:
    compared = list(dict.fromkeys(found.knowledge for found in slices))
    offsets = dict(zip(compared, _spread(len(compared)), strict=True))
    for arm in compared:
        of_arm = [found for found in slices if found.knowledge == arm]
        judged = [(BUCKETS.index(found.bucket), found.difference) for found in of_arm]
        known = [(place, difference) for place, difference in judged if difference is not None]
        axes.errorbar(
            [place + offsets[arm] for place, _ in known],
            [difference.difference for _, difference in known],
            yerr=np.hstack(
                [
                    _whiskers(difference.difference, difference.low, difference.high)
                    for _, difference in known
                ]
            )
            if known
            else None,
            color=colour_of(inputs.arms, arm, inputs.baseline),
            marker=marker_of(inputs.arms, arm, inputs.baseline),
            linestyle="none",
            elinewidth=1.8,
            capsize=3.5,
            markersize=6.5,
            label=arm,
        )
    samples = {found.bucket: found for found in slices}
    for place, bucket in enumerate(BUCKETS):
        if samples[bucket].difference is None:
            axes.text(
                place,
                0.5,
                "too few",
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="center",
                rotation=90,
                color="#5f6368",
                fontstyle="italic",
            )
    axes.set_xticks(
        range(len(BUCKETS)),
        [f"{bucket.name}\nn = {samples[bucket].samples:,}" for bucket in BUCKETS],
    )
    axes.set_xlim(-0.6, len(BUCKETS) - 0.4)
    axes.grid(axis="y")
    draw_zero_line(axes, across="y")


def _whiskers(middle: float, low: float, high: float) -> np.ndarray:
    """Lengths of the two whiskers [2, 1]; 0 where a percentile interval excludes the estimate."""
    return np.maximum([[middle - low], [high - middle]], 0.0)


def _spread(count: int) -> np.ndarray:
    """Horizontal offsets that keep `count` series of one category apart."""
    return (np.arange(count) - (count - 1) / 2) * min(0.22, 0.7 / max(count, 1))
