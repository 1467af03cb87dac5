from __future__ import annotations

import json

import pytest

from benchmarks import model_workload, models


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
