"""Plots of an evaluation and the files of `evaluate --report`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.evaluation import reports
from trainer.evaluation.part_metrics import PartMetrics, ReliabilityBin
from trainer.metrics import display_name
from trainer.model_kinds import MODEL_KINDS

_COLOUR = "#0072B2"
_GREY = "#5f6368"
_SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "font.size": 9.5,
    "grid.color": "#e0e3e7",
    "legend.frameon": False,
    "text.parse_math": False,  # Names of groups may have dollars.
}
_NORMAL_QUANTILE = 1.959964


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG file."""
    figure.savefig(path, dpi=174)


def reliability_figure(part: PartMetrics) -> Figure:
    """Share of positive samples by mean score, a point for each bin, with 95 % intervals."""
    bins = part.reliability
    scores = np.array([each.mean_score for each in bins])
    shares = np.array([each.share_positive for each in bins])
    low, high = _wilson_intervals(bins)
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(6.4, 6.0))
        axes = figure.subplots()
        end = 1.05 * max(scores.max(), high.max())
        axes.plot([0, end], [0, end], color=_GREY, linestyle=(0, (4, 3)), label="calibrated")
        axes.errorbar(
            scores,
            shares,
            yerr=[np.maximum(shares - low, 0), np.maximum(high - shares, 0)],
            color=_COLOUR,
            marker="o",
            markersize=4.5,
            capsize=2.5,
            linewidth=1.2,
            label="bin, with 95 % interval",
        )
        axes.set_xlim(0, end)
        axes.set_ylim(0, end)
        axes.set_aspect("equal")
        axes.set_xlabel("mean score of the bin (probability)")
        axes.set_ylabel("share of positive samples in the bin")
        axes.grid()
        axes.legend(loc="upper left")
        metrics = part.metrics
        axes.set_title(
            f"Reliability: {metrics['n']:,} samples in {len(bins)} bins of about "
            f"{metrics['n'] // len(bins):,}\n"
            f"mean score / base rate {metrics['calibration_ratio']:.4f}, "
            f"calibration error {metrics['calibration_error']:.4f}"
        )
    return figure


def slices_figure(part: PartMetrics, kind: str) -> Figure:
    """Two metrics of every group, a row of panels for each slice."""
    shown = {
        name: groups
        for name, groups in part.slices.items()
        if any(metrics["n"] for metrics in groups.values())
    }
    heights = [1.5 + len(_with_samples(groups)) for groups in shown.values()]
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(7.5, 1.0 + 0.25 * sum(heights)))
        panels = figure.subplots(len(shown), 2, sharex="col", squeeze=False, height_ratios=heights)
        for column, metric in enumerate(MODEL_KINDS[kind].plotted_metrics):
            whole = part.metrics[metric]
            limits = _limits(shown, metric, whole)
            for axes, (name, groups) in zip(panels[:, column], shown.items(), strict=True):
                _draw_slice(axes, _with_samples(groups), metric, whole, limits)
                axes.set_title(name if column == 0 else "")
            panels[-1, column].set_xlabel(display_name(metric))
            panels[0, column].tick_params(labeltop=True)
        for axes in panels[:, 1]:
            axes.tick_params(labelleft=False)
        figure.suptitle(
            "Dashed: the whole part. n: samples of the group. Lines: 95 % intervals over users.\n"
            "Hollow: few samples; an arrow: outside the axis.",
            fontsize=9.5,
        )
    return figure


def _with_samples(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {group: metrics for group, metrics in groups.items() if metrics["n"]}


def _limits(
    slices: Mapping[str, Mapping[str, Mapping[str, Any]]], metric: str, whole: float
) -> tuple[float, float]:
    """Ends of an axis for the whole part and, with intervals, all groups with enough samples."""
    values = [whole] + [
        metrics[name]
        for groups in slices.values()
        for metrics in groups.values()
        for name in (metric, *_interval_names(metric))
        if metrics.get(name) is not None and not metrics["sparse"]
    ]
    margin = max(0.005, 0.08 * (max(values) - min(values)))
    return min(values) - margin, max(values) + margin


def _interval_names(metric: str) -> tuple[str, str]:
    """Names of the ends of a metric's interval among the metrics of a group."""
    return f"{metric}_low", f"{metric}_high"


def _draw_slice(
    axes: Axes,
    groups: Mapping[str, Mapping[str, Any]],
    metric: str,
    whole: float,
    limits: tuple[float, float],
) -> None:
    low, high = limits
    axes.axvline(whole, color=_GREY, linestyle=(0, (4, 3)), linewidth=1.0)
    for row, metrics in enumerate(groups.values()):
        value = metrics[metric]
        if value is None:
            axes.text(whole, row, " no value", color=_GREY, va="center", fontstyle="italic")
            continue
        low_end, high_end = _interval_names(metric)
        if low_end in metrics:
            ends = [metrics[low_end], metrics[high_end]]
            axes.plot(ends, [row, row], color=_COLOUR, alpha=0.45, linewidth=2.2)
        axes.plot(
            min(max(value, low), high),
            row,
            marker="o" if low <= value <= high else "<" if value < low else ">",
            color=_COLOUR,
            markerfacecolor="white" if metrics["sparse"] else _COLOUR,
            clip_on=False,
        )
    labels = [f"{_shortened(group)}  n = {metrics['n']:,}" for group, metrics in groups.items()]
    axes.set_yticks(range(len(groups)), labels)
    axes.set_xlim(low, high)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(axis="x")


def _shortened(text: str, longest: int = 32) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _wilson_intervals(bins: Sequence[ReliabilityBin]) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of the bins' shares (Wilson 1927): low [bins], high [bins]."""
    n = np.array([each.n for each in bins])
    share = np.array([each.share_positive for each in bins])
    square = _NORMAL_QUANTILE**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _NORMAL_QUANTILE * np.sqrt(share * (1 - share) / n + square / (4 * n**2))
    half /= 1 + square / n
    return centre - half, centre + half


def write_report(folder: Path, kind: str, part: PartMetrics, result: Mapping[str, object]) -> None:
    """Writes metrics.json, tables and plots; of what there is not, no file, and none is left.

    Args:
      folder: made if it is not there.
      kind: of the model.
      part: the metrics.
      result: the command's JSON result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("slices.csv", "slices.md", "reliability.png", "slices.png"):
        (folder / name).unlink(missing_ok=True)
    (folder / "metrics.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if part.reliability:
        save(reliability_figure(part), folder / "reliability.png")
    if part.slices:
        _write_csv(folder / "slices.csv", part)
        lines = [reports.header(kind), *reports.rows(part.slices, kind)]
        (folder / "slices.md").write_text(_markdown(lines), encoding="utf-8")
        save(slices_figure(part, kind), folder / "slices.png")


def _write_csv(path: Path, part: PartMetrics) -> None:
    """One line for each group, with all of its metrics at full length."""
    rows = [
        {"slice": name, "group": group, **metrics}
        for name, groups in part.slices.items()
        for group, metrics in groups.items()
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)


def _markdown(lines: list[list[str]]) -> str:
    """A table in GitHub's Markdown, figures aligned to the right."""
    alignments = ["---" if name in ("slice", "group", "remark") else "---:" for name in lines[0]]
    return "".join(
        "| " + " | ".join(text.replace("|", r"\|") for text in line) + " |\n"
        for line in [lines[0], alignments, *lines[1:]]
    )
