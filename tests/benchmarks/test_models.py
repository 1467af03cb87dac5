from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks import augmented_dtypes, input_pipeline, model_workload, models, optimizers
from benchmarks.measuring import Stopwatch
from benchmarks.models import operation_shares
from tests.runs import written_run


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(model_workload, "NUM_ITEMS", 30)
    monkeypatch.setattr(model_workload, "NUM_USERS", 20)
    monkeypatch.setattr("sys.argv", ["benchmarks.models", *words])
    models.main()


@pytest.mark.slow
def test_every_arm_is_a_json_line_and_a_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--batch-size", "6", "--history", "4", "--dimension", "8", "--rounds", "1"]
    run(monkeypatch, "deepfm", "--arms", "hein", "means_step", *sizes)
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["arm"] for line in lines] == ["none", "hein", "means_step"]
    assert {(line["benchmark"], line["backbone"]) for line in lines} == {("models", "deepfm")}
    assert {(line["batch_size"], line["dimension"]) for line in lines} == {(6, 8)}
    assert lines[0]["ratio"] == 1
    assert set(lines[1]["distinct_rows"]) == {"item", "user"} and lines[0]["distinct_rows"] == {}
    header, _, row = captured.err.strip().splitlines()[-3:]
    assert header == "| backbone | none, samples/s | hein | means_step |"
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "deepfm"
    assert [float(cell) for cell in cells[2:]] == pytest.approx(
        [line["ratio"] for line in lines[1:]], abs=0.01, rel=0.01
    )


def test_an_unknown_backbone_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "dim")
    assert "no backbone dim; there are" in capsys.readouterr().err


def test_the_largest_share_is_that_of_the_heaviest_operation() -> None:
    matrix = tf.random.normal([600, 600])
    program = tf.function(lambda: tf.nn.softmax(matrix @ matrix @ matrix, name="small"))
    program()
    shares = operation_shares(program, repeats=2)
    assert abs(sum(shares.values()) - 1) < 1e-9
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    heaviest = next(iter(shares))
    assert heaviest.lstrip("_").removeprefix("Mkl") == "MatMul"


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


@pytest.mark.slow
def test_every_number_format_is_a_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    augmented_dtypes.main([str(written_run().folder.path), "--samples", "20"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["number_format"] for line in lines] == ["float32", "float16", "int8"]
    differences = [line["largest_score_difference"] for line in lines]
    assert differences == sorted(differences)
    assert all(line["largest_score_difference"] <= line["allowed"] for line in lines)
    # The graph is larger than the tables of the tiny scenario.
    assert all(0.1 < line["megabytes"] < 5 for line in lines)
    assert {line["samples"] for line in lines} == {20}
    assert {line["metric"] for line in lines} == {"auc"}
    assert all(abs(line["cost"]) < 0.01 for line in lines)


@pytest.mark.slow
def test_every_program_reads_all_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--interactions", "2000", "--history", "5", "--batch-size", "256"]
    words = ["benchmarks.input_pipeline", *options, "--folder", str(tmp_path), "--adapter", "hein"]
    monkeypatch.setattr("sys.argv", words)
    input_pipeline.main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["program"] for line in lines] == ["input", "ready", "stream", "memory"]
    manifest = json.loads((tmp_path / "work_2000_5" / "examples" / "manifest.json").read_text())
    assert {line["samples"] for line in lines} == {manifest["counts"]["examples"]["ctr"]["train"]}
    assert lines[1]["ready_to_this"] == 1
    assert all(line["samples_per_second"] > 0 for line in lines)
