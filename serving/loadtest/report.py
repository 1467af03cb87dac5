"""What a load test found, as files and as a plot."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import operator
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from configs.text_table import aligned
from serving.loadtest.load_test import RateMeasurement
from serving.loadtest.summary import latencies_with_failures

_SIZE_INCHES = (10.2, 4.4)
# Okabe and Ito's palette, which people with colour vision deficiencies can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("s", "D", "^", "v", "P", "X")
_DEADLINE_STYLE: dict[str, Any] = {"color": "#5f6368", "linewidth": 0.9, "linestyle": (0, (4, 3))}
_SETTINGS: dict[Any, Any] = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "font.size": 9.5,
    "grid.color": "#e0e3e7",
    "legend.frameon": False,
    "svg.hashsalt": "loadtest",
}
_QUANTILES = 1 - np.logspace(0, -4, 161)
_LABELLED_QUANTILES = (0.0, 0.5, 0.9, 0.99, 0.999)


def latency_plot(
    measures: Sequence[RateMeasurement], warmup_seconds: float, timeout_seconds: float
) -> str:
    """Draws the latencies of a load test; the text of an SVG file.

    Args:
      measures: at least one.
      warmup_seconds: what is due before is left out.
      timeout_seconds: the deadline.
    """
    text = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = _figure(measures, warmup_seconds, timeout_seconds)
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _figure(
    measures: Sequence[RateMeasurement], warmup_seconds: float, timeout_seconds: float
) -> Figure:
    figure = Figure(figsize=_SIZE_INCHES)
    by_quantile, by_rate = figure.subplots(1, 2)
    names = list(dict.fromkeys(_name(measure) for measure in measures))
    for row, name in enumerate(names):
        own = [measure for measure in measures if _name(measure) == name]
        own.sort(key=operator.attrgetter("rate"))
        colour = _COLOURS[row % len(_COLOURS)]
        calls = own[-1].calls.selected(own[-1].calls.due >= warmup_seconds)
        latencies = 1000 * latencies_with_failures(calls, timeout_seconds)
        if len(latencies):
            # No quantile beyond what so many requests can show.
            shown = _QUANTILES[_QUANTILES <= 1 - 1 / len(latencies)]
            quantiles = np.quantile(latencies, shown, method="inverted_cdf")
            by_quantile.plot(1 / (1 - shown), quantiles, color=colour)
        rates = [measure.rate for measure in own]
        for quantile, line in (("p50", ":"), ("p95", "--"), ("p99", "-")):
            by_rate.plot(
                rates,
                [getattr(measure.summary.latency_ms, quantile) for measure in own],
                color=colour,
                marker=_MARKERS[row % len(_MARKERS)],
                linestyle=line,
                label=name if quantile == "p99" else None,
            )
    by_quantile.set_xscale("log")
    by_quantile.set_xticks([1 / (1 - quantile) for quantile in _LABELLED_QUANTILES])
    by_quantile.xaxis.set_major_formatter(
        FuncFormatter(lambda one_in, _: f"{100 * (1 - 1 / one_in):g} %")
    )
    by_quantile.minorticks_off()
    by_quantile.set_title("Latency from when a request was due, highest rate")
    by_quantile.set_xlabel("share of requests that were faster")
    by_rate.set_title("p50 dotted, p95 dashed, p99 solid")
    by_rate.set_xlabel("arrival rate, requests per second")
    for axes in (by_quantile, by_rate):
        axes.set_yscale("log")
        axes.set_ylabel("milliseconds")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda milliseconds, _: f"{milliseconds:g}"))
        axes.axhline(1000 * timeout_seconds, label="deadline", **_DEADLINE_STYLE)
        axes.grid(axis="both")
    figure.legend(*by_rate.get_legend_handles_labels(), loc="outside upper right", ncols=4)
    return figure


def _name(measure: RateMeasurement) -> str:
    return f"{measure.candidates} candidates"


RESULTS_FILE = "results.json"
LATENCIES_FILE = "latencies.csv"
PLOT_FILE = "latency.svg"


def machine() -> dict[str, object]:
    """What figures of this machine depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def measure_record(measure: RateMeasurement) -> dict[str, object]:
    """A measure as JSON."""
    return {
        "candidates": measure.candidates,
        "rate": measure.rate,
        **dataclasses.asdict(measure.summary),
    }


def table(measures: Sequence[RateMeasurement]) -> Iterable[str]:
    """Lines for people; "!" marks a measure that the generator may have set."""
    header = ["candidates", "rate/s", "answers/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "failed"]
    rows = []
    for measure in measures:
        summary, latency = measure.summary, measure.summary.latency_ms
        figures = (measure.rate, summary.throughput, *dataclasses.astuple(latency))
        rows.append(
            [
                str(measure.candidates),
                *(f"{figure:.4g}" for figure in figures),
                str(summary.requests - summary.answered),
                "!" if summary.generator_too_slow else "",
            ]
        )
    return aligned([*header, ""], rows, numbers=range(len(header)))


def warnings(measures: Sequence[RateMeasurement], same_machine: bool) -> list[str]:
    """What a reader must know before believing the figures."""
    messages = []
    if same_machine:
        messages.append(
            "client and server share this machine and its processors: a server on a machine of its "
            "own would be faster"
        )
    for measure in measures:
        if measure.summary.generator_too_slow:
            messages.append(
                f"{measure.candidates} candidates at {measure.rate:g}/s: do not use this measure; "
                f"the generator was too slow: {measure.summary.generator_too_slow}"
            )
        if measure.summary.held:
            messages.append(
                f"{measure.candidates} candidates at {measure.rate:g}/s: "
                f"{measure.summary.held} requests waited because too many were under way; their "
                "wait is part of their latency"
            )
    return messages


def write_report(
    folder: Path,
    result: Mapping[str, object],
    measures: Sequence[RateMeasurement],
    warmup_seconds: float,
    timeout_seconds: float,
) -> None:
    """Writes results.json, latencies.csv with a row per request, and latency.svg.

    Args:
      folder: is made.
      result: what results.json holds.
      measures: what was measured.
      warmup_seconds: requests that were due before are marked as warm-up.
      timeout_seconds: the deadline.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LATENCIES_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["candidates", "rate", "warmup", "due_seconds", "sent_seconds", "finished_seconds"]
            + ["latency_ms", "status_code", "version", "held"]
        )
        for measure in measures:
            calls = measure.calls
            for row in range(len(calls.due)):
                writer.writerow(
                    [
                        measure.candidates,
                        f"{measure.rate:g}",
                        int(calls.due[row] < warmup_seconds),
                        f"{calls.due[row]:.6f}",
                        f"{calls.sent[row]:.6f}",
                        f"{calls.finished[row]:.6f}",
                        f"{1000 * calls.latencies[row]:.3f}",
                        int(calls.codes[row]),
                        int(calls.versions[row]),
                        int(calls.held[row]),
                    ]
                )
    (folder / PLOT_FILE).write_text(
        latency_plot(measures, warmup_seconds, timeout_seconds), encoding="utf-8"
    )
    (folder / RESULTS_FILE).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
