from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from serving.loadtest.load_test import Measure
from serving.loadtest.report import measure_record, table, warnings, write_report
from serving.loadtest.summary import summarise
from tests.serving.loadtest.made_up_calls import calls_of


def measure(candidates: int, rate: float, lag: float = 0.0, held: bool = False) -> Measure:
    due = np.arange(100) / rate
    calls = calls_of(
        due.tolist(),
        (due + lag).tolist(),
        (due + lag + 0.01).tolist(),
        codes=[0] * 99 + [4],
        held=[held] * 100,
    )
    return Measure(candidates, rate, summarise(calls, 0.0, 100 / rate, 1.0), calls)


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
