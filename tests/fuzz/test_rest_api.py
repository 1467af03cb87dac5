from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ_FOLDER = Path(".cache/fuzz")


@pytest.mark.slow
def test_the_rest_api_answers_as_it_is_described(repository_root: Path, tmp_path: Path) -> None:
    packages = repository_root / FUZZ_FOLDER
    if not (packages / "schemathesis").is_dir():
        pytest.skip(f"make fuzz has not been run: {FUZZ_FOLDER} has no schemathesis")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "rest_api", "--cases", "800", "--out", str(tmp_path)],
        cwd=repository_root,
        env=os.environ | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line = json.loads(done.stdout.splitlines()[0])
    assert line["sound"] is True and line["cases"] >= 800
