from __future__ import annotations

import argparse
import json
import re

import pytest

from benchmarks import optimizers
from benchmarks.measuring import Stopwatch


@pytest.mark.slow
def test_every_size_and_optimizer_is_a_json_line_and_a_cell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--rows", "20", "50", "--optimizers", "lazy_adam"]
    sizes = ["--batch-size", "6", "--history", "4", "--rounds", "1"]
    monkeypatch.setattr("sys.argv", ["benchmarks.optimizers", *words, *sizes])
    optimizers.main()
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [(line["rows"], line["optimizer"]) for line in lines] == [
        (20, "adam"),
        (20, "lazy_adam"),
        (50, "adam"),
        (50, "lazy_adam"),
    ]
    assert {line["benchmark"] for line in lines} == {"optimizers"}
    assert [line["ratio"] for line in lines[::2]] == [1, 1]
    for line in lines:
        assert line["cpu_milliseconds"] > 0 and line["milliseconds"] > 0
        assert (line["batch_size"], line["history"]) == (6, 4)
    header, _, *rows = captured.err.strip().splitlines()[-4:]
    assert header == "| rows | adam, CPU ms a step | lazy_adam |"
    for row, line in zip(rows, lines[1::2], strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[0] == str(line["rows"])
        milliseconds, ratio = re.fullmatch(r"(\d+) \((\d+\.\d)x\)", cells[2]).groups()
        # A cell and a JSON line are rounded apart: to a unit, and to four significant digits.
        assert float(milliseconds) == pytest.approx(line["cpu_milliseconds"], abs=0.501, rel=6e-4)
        assert float(ratio) == pytest.approx(line["ratio"], abs=0.0501, rel=6e-4)


def test_a_cell_is_the_median_of_a_step_and_of_the_ratios_of_the_rounds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = argparse.Namespace(batch_size=6, history=4, rounds=3, seed=1)
    watches = {
        "adam": [Stopwatch(cpu_seconds=seconds) for seconds in (0.8, 1.6, 2.4)],
        "lazy_adam": [Stopwatch(cpu_seconds=seconds) for seconds in (0.4, 0.2, 0.8)],
    }
    results = optimizers._report(20, watches, arguments)
    # A round is eight steps: 1.6 s and 0.4 s are 200 and 50 ms a step; ratios are 2, 8 and 3.
    assert results == {"adam": pytest.approx((200, 1)), "lazy_adam": pytest.approx((50, 3))}
    assert optimizers._table({20: results}).splitlines()[2] == "| 20 | 200 | 50 (3.0x) |"
    printed = [
        json.loads(line)["cpu_milliseconds"] for line in capsys.readouterr().out.splitlines()
    ]
    assert printed == [200, 50]


def test_an_unknown_optimizer_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks.optimizers", "--optimizers", "adamax"])
    with pytest.raises(SystemExit):
        optimizers.main()
    assert "invalid choice: 'adamax'" in capsys.readouterr().err
