from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from serving.loadtest.load_test import Measure
from serving.loadtest.report import latency_plot
from serving.loadtest.summary import summarise
from tests.serving.loadtest.made_up_calls import calls_of

_SVG = "{http://www.w3.org/2000/svg}"
_FIRST_COLOUR = "#0072b2"
_GRID_COLOUR = "#e0e3e7"
_LEGEND_HEIGHT = 30.0


def measure(candidates: int, rate: float, latency: float, count: int = 200) -> Measure:
    due = np.arange(count) / rate
    calls = calls_of(due.tolist(), due.tolist(), (due + latency).tolist())
    return Measure(candidates, rate, summarise(calls, 0.0, count / rate, 1.0), calls)


def curves(svg: str, colour: str) -> list[np.ndarray]:
    """Points [points, 2] of curves and lines of a colour below the legend, as they are drawn."""
    found = []
    for path in ElementTree.fromstring(svg).iter(f"{_SVG}path"):
        style, places = path.get("style") or "", re.findall(r"[-\d.]+", path.get("d") or "")
        if f"stroke: {colour}" in style and "fill: none" in style and len(places) > 2:
            points = np.array(places, float).reshape(-1, 2)
            if points[0, 1] > _LEGEND_HEIGHT:
                found.append(points)
    return found


def test_the_same_measures_give_the_same_text() -> None:
    measures = [measure(1, 10.0, 0.01), measure(1, 20.0, 0.02), measure(100, 10.0, 0.05)]
    plot = latency_plot(measures, warmup_seconds=0.0, timeout_seconds=1.0)
    assert plot == latency_plot(measures, warmup_seconds=0.0, timeout_seconds=1.0)
    for label in ("1 candidates", "100 candidates", "deadline"):
        assert f"<!-- {label} -->" in plot


def test_rates_go_up_from_left_to_right_in_whatever_order_they_were_measured() -> None:
    measures = [measure(1, rate, latency) for rate, latency in ((40.0, 0.4), (10.0, 0.1))]
    _, *of_rates = curves(latency_plot(measures, 0.0, 1.0), _FIRST_COLOUR)
    assert len(of_rates) == 3  # p50, p95 and p99
    for (left, low), (right, high) in of_rates:
        # In SVG higher is less.
        assert left < right and high < low


@pytest.mark.parametrize(("count", "between"), [(50, (2, 3)), (500, (3, 4))])
def test_no_quantile_is_drawn_that_so_many_requests_cannot_show(
    count: int, between: tuple[int, int]
) -> None:
    plot = latency_plot([measure(1, 10.0, 0.1, count)], 0.0, 1.0)
    # Lines at 0, 50, 90, 99 and 99.9 %. 50 requests show 98 %, and 500 show 99.8 %.
    labelled = [points[0, 0] for points in curves(plot, _GRID_COLOUR)][:5]
    (quantiles,) = curves(plot, _FIRST_COLOUR)
    assert labelled == sorted(labelled)
    assert labelled[between[0]] < quantiles[-1, 0] < labelled[between[1]]


def test_requests_of_the_warm_up_are_not_drawn() -> None:
    # The last of the 200 requests is due after 2 s, and after 20 s.
    measures = [measure(1, 100.0, 0.01), measure(100, 10.0, 0.01)]
    plot = latency_plot(measures, warmup_seconds=5.0, timeout_seconds=1.0)
    assert curves(plot, _FIRST_COLOUR) == []
    assert len(curves(plot, "#d55e00")) == 1
