from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import LONGEST_SECONDS

PASSING = "def test_it():\n    assert True\n"
FAILING = "def test_it():\n    assert False\n"
SLOW = "import pytest\n\n\n@pytest.mark.slow\ndef test_it():\n    assert False\n"


@pytest.mark.parametrize(
    ("source", "expected"), [(PASSING, 0), (FAILING, 1), (SLOW, 0), ("import absent_module\n", 2)]
)
def test_exit_code(repository_root: Path, tmp_path: Path, source: str, expected: int) -> None:
    (tmp_path / "test_sample.py").write_text(source)
    markers = '[tool.pytest.ini_options]\nmarkers = ["slow: takes long"]\n'
    (tmp_path / "pyproject.toml").write_text(markers)
    program = repository_root / "bazel" / "pytest_main.py"
    environment = {
        **os.environ,
        "TEST_TMPDIR": str(tmp_path / "scratch"),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a file of one test needs none of them
    }
    (tmp_path / "scratch").mkdir()
    finished = subprocess.run(
        [sys.executable, str(program), "test_sample.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=LONGEST_SECONDS,
    )
    assert finished.returncode == expected, finished.stdout.decode()
