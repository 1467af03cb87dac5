from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import examples_throughput


@pytest.mark.slow
def test_both_programs_write_the_same_records(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--interactions", "3000", "--items", "100", "--history-length", "20"]
    examples_throughput.main([*sizes, "--folder", str(tmp_path)])
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line[:1] == "{"]
    beam, pandas, ratios = lines
    assert 2000 < beam["samples"] == pandas["samples"] < 3000
    assert ratios["beam_to_pandas_cpu_seconds"] > 0
