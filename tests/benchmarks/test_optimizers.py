from __future__ import annotations

import json

import pytest

from benchmarks import optimizers


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
        expected = f"{line['cpu_milliseconds']:.0f} ({line['ratio']:.1f}x)"
        assert cells[2] == pytest.approx(expected)


def test_an_unknown_optimizer_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks.optimizers", "--optimizers", "adamax"])
    with pytest.raises(SystemExit):
        optimizers.main()
    assert "invalid choice: 'adamax'" in capsys.readouterr().err
