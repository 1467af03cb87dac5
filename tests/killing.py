"""Commands in processes of their own, some of them killed in the middle."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_POLL_SECONDS = 0.01


class Command:
    """`python -m ...` in a folder; relative paths mean files of that folder.

    Args:
      repository_root: where the packages are.
      folder: the current folder of every process.
    """

    def __init__(self, repository_root: Path, folder: Path):
        self._folder = folder
        self._environment = os.environ | {"PYTHONPATH": str(repository_root)}

    def run(self, arguments: Sequence[str]) -> str:
        """Runs to the end; standard output, and an AssertionError with the messages on failure."""
        process = self._start(arguments)
        output, messages = process.communicate()
        assert process.returncode == 0, f"{' '.join(arguments)}: {messages}"
        return output

    def run_killed(self, arguments: Sequence[str], begun: Callable[[], bool], delay: float) -> bool:
        """Starts, waits until work has begun and a while longer, and kills with SIGKILL.

        Returns:
          True when the process was killed before it had ended.
        """
        process = self._start(arguments)
        while process.poll() is None and not begun():
            time.sleep(_POLL_SECONDS)
        deadline = time.monotonic() + delay
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        alive = process.poll() is None
        if alive:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return alive

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
