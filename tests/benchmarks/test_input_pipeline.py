from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import input_pipeline


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
