from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from serving.loadtest.load_test import RateMeasurement
from serving.loadtest.report import latency_plot, measure_record, table, warnings, write_report
from serving.loadtest.summary import (
    Quantiles,
    latencies_with_failures,
    nearest_rank,
    summarise,
)
from tests.serving.loadtest.synthetic_calls import calls_of


def measure(candidates: int, rate: float, lag: float = 0.0, held: bool = False) -> RateMeasurement:
    due = np.arange(100) / rate
    calls = calls_of(
        due.tolist(),
        (due + lag).tolist(),
        (due + lag + 0.01).tolist(),
        codes=[0] * 99 + [4],
        held=[held] * 100,
    )
    return RateMeasurement(candidates, rate, summarise(calls, 0.0, 100 / rate, 1.0), calls)


def test_the_table_marks_what_the_generator_may_have_set() -> None:
    header, good, bad = table([measure(1, 10.0), measure(100, 20.0, lag=0.5)])
    assert header.split()[:2] == ["candidates", "rate/s"]
    assert good.split() == ["1", "10", "9.9", "10", "10", "10", "1000", "1"]
    assert bad.split()[-2:] == ["1", "!"]


def test_what_a_reader_must_know_is_said() -> None:
    assert warnings([measure(1, 10.0)], same_machine=False) == []
    (shared,) = warnings([measure(1, 10.0)], same_machine=True)
    assert "share this machine" in shared
    (slow,) = warnings([measure(100, 20.0, lag=0.5)], same_machine=False)
    assert "100 candidates at 20/s: do not use this measure" in slow
    (held,) = warnings([measure(1, 10.0, held=True)], same_machine=False)
    assert "100 requests waited" in held


def test_a_report_has_every_request(tmp_path: Path) -> None:
    measures = [measure(1, 10.0), measure(100, 20.0), measure(100, 40.0)]
    result = {"measures": [measure_record(each) for each in measures]}
    write_report(tmp_path / "load", result, measures, warmup_seconds=1.0, timeout_seconds=1.0)
    assert json.loads((tmp_path / "load" / "results.json").read_text()) == result
    assert result["measures"][0]["latency_ms"]["p50"] == 10.0
    with (tmp_path / "load" / "latencies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert [row["warmup"] for row in rows[9:11]] == ["1", "0"]
    assert rows[0]["latency_ms"] == "10.000"
    assert rows[99]["status_code"] == "4"
    plot = ElementTree.parse(tmp_path / "load" / "latency.svg").getroot()
    assert plot.tag.endswith("svg")
    # Two curves of quantiles, and three lines for each number of candidates.
    lines = [group for group in plot.iter() if group.get("id", "").startswith("line2d")]
    assert len(lines) > 8


_SVG = "{http://www.w3.org/2000/svg}"
_FIRST_COLOUR = "#0072b2"
_GRID_COLOUR = "#e0e3e7"
_LEGEND_HEIGHT = 30.0


def answered_measure(
    candidates: int, rate: float, latency: float, count: int = 200
) -> RateMeasurement:
    due = np.arange(count) / rate
    calls = calls_of(due.tolist(), due.tolist(), (due + latency).tolist())
    return RateMeasurement(candidates, rate, summarise(calls, 0.0, count / rate, 1.0), calls)


def curves(svg: str, colour: str) -> list[np.ndarray]:
    """Points [points, 2] of curves and lines of a colour below the legend, as they are drawn."""
    collected = []
    for path in ElementTree.fromstring(svg).iter(f"{_SVG}path"):
        style, places = path.get("style") or "", re.findall(r"[-\d.]+", path.get("d") or "")
        if f"stroke: {colour}" in style and "fill: none" in style and len(places) > 2:
            points = np.array(places, float).reshape(-1, 2)
            if points[0, 1] > _LEGEND_HEIGHT:
                collected.append(points)
    return collected


def test_the_same_measures_give_the_same_text() -> None:
    measures = [
        answered_measure(1, 10.0, 0.01),
        answered_measure(1, 20.0, 0.02),
        answered_measure(100, 10.0, 0.05),
    ]
    plot = latency_plot(measures, warmup_seconds=0.0, timeout_seconds=1.0)
    assert plot == latency_plot(measures, warmup_seconds=0.0, timeout_seconds=1.0)
    for label in ("1 candidates", "100 candidates", "deadline"):
        assert f"<!-- {label} -->" in plot


def test_rates_go_up_from_left_to_right_in_whatever_order_they_were_measured() -> None:
    measures = [answered_measure(1, rate, latency) for rate, latency in ((40.0, 0.4), (10.0, 0.1))]
    _, *rate_curves = curves(latency_plot(measures, 0.0, 1.0), _FIRST_COLOUR)
    assert len(rate_curves) == 3  # p50, p95 and p99
    for (left, low), (right, high) in rate_curves:
        # In SVG higher is less.
        assert left < right and high < low


@pytest.mark.parametrize(("count", "between"), [(50, (2, 3)), (500, (3, 4))])
def test_no_quantile_is_drawn_that_so_many_requests_cannot_show(
    count: int, between: tuple[int, int]
) -> None:
    plot = latency_plot([answered_measure(1, 10.0, 0.1, count)], 0.0, 1.0)
    # Lines at 0, 50, 90, 99 and 99.9 %. 50 requests show 98 %, and 500 show 99.8 %.
    labelled = [points[0, 0] for points in curves(plot, _GRID_COLOUR)][:5]
    (quantiles,) = curves(plot, _FIRST_COLOUR)
    assert labelled == sorted(labelled)
    assert labelled[between[0]] < quantiles[-1, 0] < labelled[between[1]]


def test_requests_of_the_warm_up_are_not_drawn() -> None:
    # The last of the 200 requests is due after 2 s, and after 20 s.
    measures = [answered_measure(1, 100.0, 0.01), answered_measure(100, 10.0, 0.01)]
    plot = latency_plot(measures, warmup_seconds=5.0, timeout_seconds=1.0)
    assert curves(plot, _FIRST_COLOUR) == []
    assert len(curves(plot, "#d55e00")) == 1


def test_quantiles_are_times_that_were_measured() -> None:
    # Nearest rank: the smallest time that at least the share of all times does not exceed.
    actual = Quantiles.of_seconds(np.arange(1, 201) / 1000)
    assert actual == Quantiles(p50=100, p95=190, p99=198, max=200)
    assert nearest_rank(np.array([3.0, 1.0, 2.0]), 2 / 3) == 2.0
    assert nearest_rank(np.array([3.0, 1.0, 2.0]), 0.7) == 3.0
    assert Quantiles.of_seconds(np.array([0.007])) == Quantiles(7, 7, 7, 7)
    assert Quantiles.of_seconds(np.zeros(0)) == Quantiles(0, 0, 0, 0)


def test_warmup_is_left_out_and_failures_count_as_the_deadline() -> None:
    calls = calls_of(
        due=[0.0, 1.0, 2.0, 3.0, 4.0],
        sent=[0.0, 1.0, 2.0, 3.5, 4.0],
        finished=[9.0, 1.1, 2.02, 4.2, 4.01],
        codes=[0, 0, 14, 0, 4],
        versions=[1, 1, 0, 2, 0],
        held=[False, False, False, True, False],
    )
    summary = summarise(calls, warmup_seconds=1.0, seconds=4.0, timeout_seconds=0.5)
    assert (summary.requests, summary.answered) == (4, 2)
    assert summary.failed == {"UNAVAILABLE": 1, "DEADLINE_EXCEEDED": 1}
    assert (summary.late_answers, summary.held) == (1, 1)
    assert summary.versions == {"1": 1, "2": 1}
    assert summary.throughput == pytest.approx(2 / 4)
    # 100 ms; a failure, 500; 1,200 from when it was due; a failure, 500.
    assert summary.latency_ms == Quantiles(p50=500, p95=1200, p99=1200, max=1200)
    assert summary.answer_ms.max == pytest.approx(700)
    counted = calls.selected(calls.due >= 1.0)
    np.testing.assert_allclose(latencies_with_failures(counted, 0.5), [0.1, 0.5, 1.2, 0.5])


def test_throughput_counts_until_the_last_answer_of_a_server_that_falls_behind() -> None:
    calls = calls_of(due=[1.0, 2.0], sent=[1.0, 2.0], finished=[2.0, 9.0])
    assert summarise(calls, 1.0, 2.0, 60.0).throughput == pytest.approx(2 / 8)


def evenly(lag: float, latency: float, **options: object):
    due = np.arange(200) / 100
    return calls_of(due.tolist(), (due + lag).tolist(), (due + latency).tolist(), **options)


@pytest.mark.parametrize(
    ("lag", "latency", "options", "reason"),
    [
        (0.0009, 0.002, {}, ""),
        (0.004, 0.050, {}, ""),
        (0.006, 0.050, {}, "sent requests 6 ms late"),
        (0.0, 0.002, {"loop_lags": (0.03,) * 50}, "noticed answers 30 ms late"),
        (0.0, 0.002, {"processor_seconds": 9.5}, "used 95%"),
        (0.02, 0.050, {"held": [True] * 200}, ""),
    ],
)
def test_a_generator_that_is_too_slow_is_found_out(
    lag: float, latency: float, options: dict[str, object], reason: str
) -> None:
    summary = summarise(evenly(lag, latency, **options), 0.0, 2.0, 1.0)
    assert (reason in summary.generator_too_slow) if reason else not summary.generator_too_slow


def test_no_requests_are_no_reason_to_fail() -> None:
    summary = summarise(calls_of([], [], []), 0.0, 1.0, 1.0)
    assert (summary.requests, summary.throughput, summary.generator_too_slow) == (0, 0.0, "")
