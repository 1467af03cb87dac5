from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_worker_without_a_runner_names_what_is_missing(repository_root: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "preprocessing.beam_worker"],
        cwd=repository_root,
        env={"PATH": ""},
        capture_output=True,
        text=True,
    )
    assert finished.returncode != 0
    assert "CONTROL_API_SERVICE_DESCRIPTOR" in finished.stderr
    assert "harness starting" not in finished.stderr
