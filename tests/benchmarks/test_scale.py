from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import measuring, scale
from benchmarks.measuring import run_measured

WORK = """
import os, time
held = b"x" * (64 << 20)
open({path!r}, "wb").write(held)
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
time.sleep(0.5)
while not os.path.exists({seen!r}):
    time.sleep(0.01)
"""
BEGINS_WORK = """
import subprocess, sys
subprocess.run([sys.executable, "-c", {work!r}], check=True)
print("done")
"""


def test_a_command_is_measured_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, look = tmp_path / "seen", measuring._tree_megabytes

    def looked(root: int) -> float:
        megabytes = look(root)
        if megabytes > 64:
            seen.touch()
        return megabytes

    # However late the looks are, one of them comes before the end.
    monkeypatch.setattr(measuring, "_tree_megabytes", looked)
    work = WORK.format(path=str(tmp_path / "file"), seen=str(seen))
    used = run_measured([sys.executable, "-c", BEGINS_WORK.format(work=work)])
    assert used.output == "done\n"
    assert used.cpu_seconds >= 0.3 and used.seconds >= 0.8
    assert 64 < used.peak_megabytes < 200
    assert used.written_megabytes < 100


def test_a_command_that_fails_says_so() -> None:
    with pytest.raises(subprocess.CalledProcessError, match="exit status 7"):
        run_measured([sys.executable, "-c", "raise SystemExit(7)"])


def line(step: str, rows: int, seconds: float) -> dict[str, object]:
    numbers = ("seconds", "peak_megabytes", "written_megabytes")
    return {"step": step, "rows": rows, "cpu_seconds": seconds, **dict.fromkeys(numbers, 1234.0)}


def test_the_table_has_slopes() -> None:
    lines = [line("examples", 100, 4.0), line("examples", 10_000, 400.0), line("load", 100, 1.0)]
    assert scale.slope(lines[:2]) == pytest.approx(1.0)
    assert scale.slope([line("link", 10, 1.0), line("link", 1000, 1000.0)]) == pytest.approx(1.5)
    assert scale.slope(lines[2:]) is None
    assert scale.table(lines).splitlines()[2:] == [
        "| examples | 100 | 1,234 | 4.0 | 40,000 | 1,234 | 1,234 |  |",
        "| examples | 10,000 | 1,234 | 400 | 40,000 | 1,234 | 1,234 | 1.00 |",
        "| load | 100 | 1,234 | 1.0 | 10,000 | 1,234 | 1,234 |  |",
    ]


def test_what_is_measured_is_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "measures.jsonl"
    earlier = line("generate", 500, 1.0) | {"seed": 1, "known": 0.7}
    kept.write_text(json.dumps(earlier) + "\n", encoding="utf-8")
    words = ["--folder", str(tmp_path), "--rows", "500", "1000", "--steps", "generate"]
    scale.main(words)
    (measured,) = [json.loads(text) for text in capfd.readouterr().out.splitlines()]
    assert (measured["step"], measured["rows"], measured["seed"]) == ("generate", 1000, 1)
    (log,) = tmp_path.glob("rows_*/interactions.csv")
    assert len(log.read_text().splitlines()) == 1001
    lines = kept.read_text(encoding="utf-8")
    assert [json.loads(text) for text in lines.splitlines()] == [earlier, measured]
    scale.main([*words, "--plot", str(tmp_path / "plot.svg")])
    assert capfd.readouterr().out == "" and kept.read_text(encoding="utf-8") == lines
    assert "| generate | 1,000 |" in (tmp_path / "measures.md").read_text(encoding="utf-8")
    assert "processor seconds" in (tmp_path / "plot.svg").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_step_runs_and_knowledge_lifts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scale.main(["--folder", str(tmp_path), "--rows", "60000"])
    lines = [json.loads(text) for text in capfd.readouterr().out.splitlines() if text[:1] == "{"]
    by_step = {found["step"]: found for found in lines}
    assert [*by_step] == [*scale.STEPS]
    assert all(found["cpu_seconds"] > 0 and found["peak_megabytes"] > 50 for found in lines)
    knowing, ignorant = by_step["train"], by_step["train_without"]
    assert ignorant["validation_auc"] + 0.02 < knowing["validation_auc"]
    assert knowing["validation_auc"] < knowing["attainable_auc"]
    assert (tmp_path / "rows_60000_seed_1_known_0.7/export/2/saved_model.pb").exists()
