"""The plots of a report and their style."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.experiments.results import Comparison, RunResult
from trainer.inspection import GateWeights
from trainer.metrics import display_name
from trainer.report.inputs import ReportInputs
from trainer.report.sentences import mark
from trainer.report.statistics import BUCKETS, CellResult, PopularitySlice


@dataclass(frozen=True)
class Layout:
    """How wide figures are.

    Attributes:
      width: inches.
      columns: panels beside each other, at most.
      legend_columns: series in a line of the legend, at most.
    """

    width: float
    columns: int
    legend_columns: int


WIDE = Layout(width=10.2, columns=2, legend_columns=5)
NARROW = Layout(width=4.4, columns=1, legend_columns=2)
"""For a phone, where the other would be too small to read."""

# Okabe and Ito's palette, which people with colour vision deficiencies can tell apart.
_BASELINE_COLOUR = "#5f6368"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_BASELINE_MARKER = "o"
_MARKERS = ("s", "D", "^", "v", "P", "X")

_SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9aa0a6",
    "axes.labelcolor": "#202124",
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": "#e0e3e7",
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "report",
    "xtick.color": "#3c4043",
    "ytick.color": "#3c4043",
}


def image_source(draw: Callable[[Layout], Figure], layout: Layout = WIDE) -> str:
    """Draws a figure in the report's style and returns it as an SVG data URI."""
    encoded = base64.b64encode(svg_image(draw, layout)).decode("ascii")
    return f"data:image/svg+xml;base64,{encoded}"


def svg_image(
    draw: Callable[[Layout], Figure], layout: Layout = WIDE, keep_text: bool = False
) -> bytes:
    """Draws a figure in the report's style, as an SVG file.

    Args:
      draw: of a layout.
      layout: of the figure.
      keep_text: text stays text, in the fonts of whoever looks; else it becomes outlines.
    """
    buffer = io.BytesIO()
    fonts = {"svg.fonttype": "none"} if keep_text else {}
    with matplotlib.rc_context(_SETTINGS | fonts):
        draw(layout).savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def panel_grid(count: int, panel_height: float, layout: Layout = WIDE) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of a common y axis.

    Args:
      count: number of panels.
      panel_height: inches.
      layout: of the figure.
    """
    columns = min(count, layout.columns)
    rows = -(-count // columns)
    figure = Figure(figsize=(layout.width, 0.5 + panel_height * rows))
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).ravel())
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count]


def draw_legend(figure: Figure, layout: Layout = WIDE) -> None:
    """One legend above all panels, with every label once."""
    entries = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if entries:
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside upper right",
            ncols=min(len(entries), layout.legend_columns),
        )


def colour_of(names: Sequence[str], name: str, baseline: str) -> str:
    """Colour of a series: distinct in the order of `names`, the baseline grey."""
    if name == baseline:
        return _BASELINE_COLOUR
    return _COLOURS[_place(names, name, baseline) % len(_COLOURS)]


def source_colour_of(sources: Sequence[str], source: str) -> str:
    """Colour of a knowledge source, shifted in the palette so as not to suggest an arm."""
    return _COLOURS[(sources.index(source) + 2) % len(_COLOURS)]


def marker_of(names: Sequence[str], name: str, baseline: str) -> str:
    """Marker of a series: colour is never the only cue, and no two series have both in common."""
    if name == baseline:
        return _BASELINE_MARKER
    rounds, index = divmod(_place(names, name, baseline), len(_COLOURS))
    return _MARKERS[(index + rounds) % len(_MARKERS)]


def _place(names: Sequence[str], name: str, baseline: str) -> int:
    return [other for other in names if other != baseline].index(name)


def draw_zero_line(axes: Axes, across: str) -> None:
    """A dashed line where a difference is 0; `across` is the axis it is on, "x" or "y"."""
    line = axes.axvline if across == "x" else axes.axhline
    line(0.0, color="#444444", linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)


def learning_figure(inputs: ReportInputs, layout: Layout = WIDE) -> Figure:
    """Validation result and training loss by epoch, a row per backbone, of seeds and their mean."""
    curves = {
        f"validation_{inputs.experiment.metric}": f"validation {inputs.metric_name}",
        "train_loss": "training loss (nats)",
    }
    columns = min(len(curves), layout.columns)
    rows = len(inputs.backbones) * len(curves) // columns
    figure = Figure(figsize=(layout.width, 0.5 + 2.7 * rows))
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1, len(curves))
    for row, backbone in zip(grid, inputs.backbones, strict=True):
        for axes, (quantity, label) in zip(row, curves.items(), strict=True):
            for arm in inputs.arms:
                _learning_curves(axes, inputs, arm, backbone, quantity)
            axes.set_title(backbone)
            axes.set_ylabel(label)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="both")
    draw_legend(figure, layout)
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


def tuning_figure(inputs: ReportInputs, layout: Layout = WIDE) -> Figure:
    """Best validation result so far by trial, a panel per backbone and a line per arm."""
    tuning = inputs.tuning
    backbones = list(dict.fromkeys(tuned.backbone for tuned in tuning))
    arms = list(dict.fromkeys(tuned.knowledge for tuned in tuning))
    figure, panels = panel_grid(len(backbones), 2.8, layout)
    for axes, backbone in zip(panels, backbones, strict=True):
        for tuned in (cell for cell in tuning if cell.backbone == backbone):
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
    for axes in panels[:: layout.columns]:
        axes.set_ylabel(f"validation {display_name(tuning[0].metric)}")
    draw_legend(figure, layout)
    return figure


def gate_figure(gates: Mapping[str, GateWeights], layout: Layout = WIDE) -> Figure:
    """Mean gate weights, a panel per backbone and arm; shared experts on a shaded ground."""
    sources = list(dict.fromkeys(source for cell in gates.values() for source in cell.by_source))
    figure, panels = panel_grid(len(gates), 2.5, layout)
    for axes, (cell, weights) in zip(panels, gates.items(), strict=True):
        _gate_panel(axes, sources, weights.by_source, weights.num_shared_experts)
        axes.set_title(cell.replace("/", "   "))
    for axes in panels[:: layout.columns]:
        axes.set_ylabel("mean gate weight")
    draw_legend(figure, layout)
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


def quality_figure(
    inputs: ReportInputs, cells: Sequence[CellResult], layout: Layout = WIDE
) -> Figure:
    """Main test metric of every backbone and arm; beside it the difference to the baseline."""
    rows = 2 // layout.columns
    figure = Figure(figsize=(layout.width, rows * (1.3 + 0.42 * len(cells))))
    ratios = (1.15, 1) if layout.columns == 2 else (1,)
    value_axes, difference_axes = figure.subplots(
        rows, layout.columns, sharey=True, width_ratios=ratios
    )
    arms, baseline = inputs.arms, inputs.baseline
    backbones = list(dict.fromkeys(cell.backbone for cell in cells))
    # Half a row of space between backbones.
    places = [row + 0.5 * backbones.index(cell.backbone) for row, cell in enumerate(cells)]
    for position, cell in zip(places, cells, strict=True):
        style = {
            "color": colour_of(arms, cell.knowledge, baseline),
            "marker": marker_of(arms, cell.knowledge, baseline),
            "linestyle": "none",
        }
        whiskers = {"elinewidth": 1.8, "capsize": 3.5, "markersize": 6.5, "zorder": 3, **style}
        value_axes.errorbar(
            cell.value, position, xerr=_whiskers(cell.value, cell.low, cell.high), **whiskers
        )
        value_axes.plot(
            cell.seed_values,
            np.full(len(cell.seed_values), position + 0.27),
            markersize=3.6,
            alpha=0.75,
            zorder=4,
            **style,
        )
        if cell.comparison is not None:
            _draw_difference(difference_axes, position, cell.comparison, whiskers)
        elif cell.knowledge == baseline:
            difference_axes.text(
                0.0, position, "  baseline", color="#5f6368", va="center", fontstyle="italic"
            )
    name = inputs.metric_name
    value_axes.set_yticks(places, [f"{cell.backbone}   {cell.knowledge}" for cell in cells])
    value_axes.invert_yaxis()
    value_axes.grid(axis="x")
    value_axes.set_xlabel(f"test {name}")
    value_axes.set_title(f"Test {name}, 95 % interval")
    draw_zero_line(difference_axes, across="x")
    difference_axes.grid(axis="x")
    difference_axes.tick_params(axis="y", length=0)
    difference_axes.set_xlabel(f"difference of test {name} to the arm '{baseline}'")
    difference_axes.set_title("Paired difference, 95 % interval")
    return figure


def _draw_difference(
    axes: Axes, position: float, comparison: Comparison, whiskers: Mapping[str, Any]
) -> None:
    difference = comparison.difference
    axes.errorbar(
        difference.difference,
        position,
        xerr=_whiskers(difference.difference, difference.low, difference.high),
        **whiskers,
    )
    axes.annotate(
        mark(comparison),
        (max(difference.high, difference.difference), position),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
    )


def popularity_figure(
    inputs: ReportInputs, slices: Sequence[PopularitySlice], layout: Layout = WIDE
) -> Figure:
    """AUC difference by the candidate item's training interactions, a panel per backbone."""
    backbones = list(dict.fromkeys(each.backbone for each in slices))
    figure, panels = panel_grid(len(backbones), 3.4, layout)
    for axes, backbone in zip(panels, backbones, strict=True):
        _popularity_panel(axes, inputs, [each for each in slices if each.backbone == backbone])
        axes.set_title(backbone)
        axes.set_xlabel("training interactions of the item (n test samples)")
    for axes in panels[:: layout.columns]:
        axes.set_ylabel(f"difference of test AUC\nto the arm '{inputs.baseline}'")
    draw_legend(figure, layout)
    return figure


def _popularity_panel(axes: Axes, inputs: ReportInputs, slices: Sequence[PopularitySlice]) -> None:
    compared = list(dict.fromkeys(each.knowledge for each in slices))
    offsets = dict(zip(compared, _spread(len(compared)), strict=True))
    for arm in compared:
        arm_slices = [each for each in slices if each.knowledge == arm]
        judged = [(BUCKETS.index(each.bucket), each.difference) for each in arm_slices]
        points = [(bucket, difference) for bucket, difference in judged if difference is not None]
        axes.errorbar(
            [bucket + offsets[arm] for bucket, _ in points],
            [difference.difference for _, difference in points],
            yerr=np.hstack(
                [
                    _whiskers(difference.difference, difference.low, difference.high)
                    for _, difference in points
                ]
            )
            if points
            else None,
            color=colour_of(inputs.arms, arm, inputs.baseline),
            marker=marker_of(inputs.arms, arm, inputs.baseline),
            linestyle="none",
            elinewidth=1.8,
            capsize=3.5,
            markersize=6.5,
            label=arm,
        )
    samples = {each.bucket: each for each in slices}
    for position, bucket in enumerate(BUCKETS):
        if samples[bucket].difference is None:
            axes.text(
                position,
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
