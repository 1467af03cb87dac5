"""Worker processes of Beam that die just before chosen changes of the disk.

Changes are counted over all worker processes together: files opened for writing, renamed and
removed, folders made, below one folder. `dying_before` sets it up for the processes that are
started in its block; those read this module through a `sitecustomize` of their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

_VARIABLE = "DYING_WORKERS"
_PROGRAMS = ("preprocessing.beam_worker", "apache_beam.runners.worker.sdk_worker_main")
_CHANGES = ("os.mkdir", "os.remove", "os.rename")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Changes:
    """Changes that worker processes have made."""

    def __init__(self, counter: Path):
        self._counter = counter

    def __len__(self) -> int:
        return self._counter.stat().st_size


@contextlib.contextmanager
def dying_before(
    numbers: Collection[int], changed: Path, scratch: Path, root: Path
) -> Iterator[Changes]:
    """Workers of this block die before the changes of these numbers, counted from 1.

    Args:
      numbers: one worker dies for each; none only counts.
      changed: changes below this folder count.
      scratch: an empty folder.
      root: of the repository.
    """
    counter = scratch / "changes"
    counter.touch()
    (scratch / "sitecustomize.py").write_text(f"import {__name__} as it\nit.install()\n")
    plan = {"numbers": list(numbers), "changed": str(changed), "counter": str(counter)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_VARIABLE, json.dumps(plan))
        patch.setenv("PYTHONPATH", f"{scratch}{os.pathsep}{root}")
        yield Changes(counter)


def install() -> None:
    """Counts changes from now on, in a worker process."""
    if not any(program in sys.orig_argv for program in _PROGRAMS):
        return
    plan = json.loads(os.environ[_VARIABLE])
    counter = os.open(plan["counter"], os.O_RDWR | os.O_APPEND)

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & _WRITING:
                return
        elif event not in _CHANGES:
            return
        if not str(arguments[0]).startswith(plan["changed"]):
            return
        fcntl.flock(counter, fcntl.LOCK_EX)
        os.write(counter, b".")
        number = os.fstat(counter).st_size
        if number in plan["numbers"]:
            os.kill(os.getpid(), signal.SIGKILL)
        fcntl.flock(counter, fcntl.LOCK_UN)

    sys.addaudithook(hear)
