"""Plots of the study, drawn from its result files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.metrics import display_name
from trainer.report.plots import Layout, colour_of, draw_zero_line, marker_of, svg_image

_INCHES_OF_A_POINT = 0.2
_INCHES_OF_A_LINE = 0.08
_INCHES_AROUND = 0.9
_INCHES_OF_A_LEGEND_ENTRY = 0.2
_INCHES_OF_A_BREAK = 0.16
_LONGEST_LABEL = 50
"""Characters; a longer one is broken, as it would leave the intervals no room."""
_LEAST_SAMPLES = 500
"""A slice of fewer has an interval so wide that the others could not be seen beside it."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Point:
    """A difference with its interval.

    Attributes:
      line: label of the line that it is on.
      series: what it has its colour of.
      row: of a result file.
    """

    line: str
    series: str
    row: Row


def differences_plot(document: Mapping[str, Any], metric: str, baseline: str) -> bytes:
    """Differences to the baseline and of other pairs, whole and in slices, as an SVG file.

    Args:
      document: a result file of the study.
      metric: what is compared.
      baseline: the arm that all others are compared with.
    """
    compared = [*document["comparisons"], *document["over_models"]]
    several = len({row["backbone"] for row in compared}) > 1

    def points(rows: Sequence[Row], name: Callable[[Row], str]) -> list[_Point]:
        if several:
            return [_Point(row["backbone"], name(row), row) for row in rows]
        return [_Point(name(row), "", row) for row in rows]

    with_baseline = [row for row in compared if row["baseline"] == baseline]
    others = [row for row in compared if row["baseline"] != baseline]
    panels = {
        f"over {baseline}": points(with_baseline, lambda row: row["arm"]),
        "over other arms": points(others, _pair),
    }
    for row in document["slices"]:
        if "difference" in row and row["samples"] >= _LEAST_SAMPLES:
            title = f"{row['backbone']}, by {row['slice']} (of {_LEAST_SAMPLES} samples or more)"
            panels.setdefault(title, []).append(_Point(row["group"], _pair(row), row))
    drawn = {title: points for title, points in panels.items() if points}
    label = f"difference of test {display_name(metric)}, with 95 % interval"
    return svg_image(lambda layout: _figure(drawn, label, layout), keep_text=True)


def frontier_plot(
    document: Mapping[str, Any], baseline: str, frontier: Mapping[str, Sequence[str]]
) -> bytes:
    """Lift over the baseline by what the LLM wrote for it, as an SVG file.

    Args:
      document: a result file of the study, whose models have counts of answers and tokens.
      baseline: an arm without answers.
      frontier: series -> its arms.
    """

    def draw(layout: Layout) -> Figure:
        figure = Figure(figsize=(layout.width, 4.2))
        _draw_frontier(figure.subplots(), document, baseline, frontier)
        return figure

    return svg_image(draw, keep_text=True)


def _draw_frontier(
    axes: Axes, document: Mapping[str, Any], baseline: str, frontier: Mapping[str, Sequence[str]]
) -> None:
    tokens = {model["arm"]: model["answer_tokens"] for model in document["models"]}
    rows = {row["arm"]: row for row in document["comparisons"] if row["baseline"] == baseline}
    for place, (series, arms) in enumerate(frontier.items()):
        there = [arm for arm in arms if arm in rows]
        thousands = [tokens[arm] / 1000 for arm in there]
        lifts = 100 * np.array([rows[arm]["relative_lift"] for arm in there])
        bounds = 100 * np.array([_relative_interval(rows[arm]) for arm in there]).T
        axes.errorbar(
            thousands,
            lifts,
            yerr=np.maximum([lifts - bounds[0], bounds[1] - lifts], 0),
            color=colour_of([*frontier], series, ""),
            marker=marker_of([*frontier], series, ""),
            capsize=3,
            label=series,
        )
        for arm, x, y in zip(there, thousands, lifts, strict=True):
            offset = (5, 18 * place - 11)
            axes.annotate(arm, (x, y), xytext=offset, textcoords="offset points", fontsize=8)
    draw_zero_line(axes, across="y")
    axes.set_xlabel("tokens of all answers, thousands")
    axes.set_ylabel(f"lift over {baseline}, per cent, with 95 % interval")
    axes.grid()
    axes.legend(loc="lower right")


def _relative_interval(row: Row) -> tuple[float, float]:
    before = next(value for name, value in row.items() if name.startswith("baseline_"))
    return row["low"] / before, row["high"] / before


def _pair(row: Row) -> str:
    pair = f"{row['arm']} over {row['baseline']}"
    return pair if len(pair) <= _LONGEST_LABEL else pair.replace(" over ", "\nover ")


def _figure(panels: Mapping[str, Sequence[_Point]], label: str, layout: Layout) -> Figure:
    heights = [_INCHES_AROUND + _height(points) for points in panels.values()]
    figure = Figure(figsize=(layout.width, sum(heights)))
    all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights).ravel()
    for axes, (title, points) in zip(all_axes, panels.items(), strict=True):
        _draw_panel(axes, points)
        axes.set_title(title)
        axes.set_xlabel(label)
    return figure


def _height(points: Sequence[_Point]) -> float:
    lines, series = ({getattr(point, of) for point in points} for of in ("line", "series"))
    legend = series if len(series) > 1 else ()
    return (
        _INCHES_OF_A_POINT * len(points)
        + _INCHES_OF_A_LINE * len(lines)
        + _INCHES_OF_A_LEGEND_ENTRY * len(legend)
        + _INCHES_OF_A_BREAK * "".join([*lines, *legend]).count("\n")
    )


def _draw_panel(axes: Axes, points: Sequence[_Point]) -> None:
    lines = list(dict.fromkeys(point.line for point in points))
    series = list(dict.fromkeys(point.series for point in points))
    offsets = (np.arange(len(series)) - (len(series) - 1) / 2) * 0.8 / len(series)
    for name, offset in zip(series, offsets, strict=True):
        own = [point for point in points if point.series == name]
        differences = np.array([point.row["difference"] for point in own])
        low, high = (np.array([point.row[end] for point in own]) for end in ("low", "high"))
        axes.errorbar(
            differences,
            [lines.index(point.line) + offset for point in own],
            xerr=np.maximum([differences - low, high - differences], 0),
            color=colour_of(series, name, ""),
            marker=marker_of(series, name, ""),
            linestyle="none",
            elinewidth=1.6,
            capsize=3,
            markersize=5,
            label=name,
        )
    draw_zero_line(axes, across="x")
    axes.set_yticks(range(len(lines)), lines)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(axis="x")
    if len(series) > 1:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(0.0, -0.55 / _height(points)),
            borderaxespad=0.0,
        )
