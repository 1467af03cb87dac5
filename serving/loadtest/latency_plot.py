"""The plot of a load test."""

from __future__ import annotations

import io
import operator
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from serving.loadtest.load_test import Measure
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


def latency_plot(measures: Sequence[Measure], warmup_seconds: float, timeout_seconds: float) -> str:
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


def _figure(measures: Sequence[Measure], warmup_seconds: float, timeout_seconds: float) -> Figure:
    figure = Figure(figsize=_SIZE_INCHES)
    by_quantile, by_rate = figure.subplots(1, 2)
    names = list(dict.fromkeys(_name(measure) for measure in measures))
    for place, name in enumerate(names):
        own = [measure for measure in measures if _name(measure) == name]
        own.sort(key=operator.attrgetter("rate"))
        colour = _COLOURS[place % len(_COLOURS)]
        calls = own[-1].calls.selected(own[-1].calls.due >= warmup_seconds)
        latencies = 1000 * latencies_with_failures(calls, timeout_seconds)
        if len(latencies):
            # No quantile beyond what so many requests can show.
            shown = _QUANTILES[_QUANTILES <= 1 - 1 / len(latencies)]
            found = np.quantile(latencies, shown, method="inverted_cdf")
            by_quantile.plot(1 / (1 - shown), found, color=colour)
        rates = [measure.rate for measure in own]
        for quantile, line in (("p50", ":"), ("p95", "--"), ("p99", "-")):
            by_rate.plot(
                rates,
                [getattr(measure.summary.latency_ms, quantile) for measure in own],
                color=colour,
                marker=_MARKERS[place % len(_MARKERS)],
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


def _name(measure: Measure) -> str:
    return f"{measure.candidates} candidates"
