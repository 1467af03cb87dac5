"""What all benchmarks share: one JSON line per measure, with what is needed to repeat it.

`measured` is for a block of this process, `run_measured` for a command in a process of its own.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Stopwatch:
    """Seconds of a block.

    Attributes:
      seconds: wall time; set when the block ends.
      cpu_seconds: processor time of this process and of its ended children.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0


@contextmanager
def measured() -> Iterator[Stopwatch]:
    """Measures the block."""
    watch = Stopwatch()
    wall, processor = time.monotonic(), _processor_seconds()
    yield watch
    watch.seconds = time.monotonic() - wall
    watch.cpu_seconds = _processor_seconds() - processor


@contextmanager
def temporary_folder(parent: str | None) -> Iterator[Path]:
    """Gives a folder that goes with the block.

    Args:
      parent: folder that it is in, made if it is not there; that of temporary files if None.
    """
    if parent is not None:
        Path(parent).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(folder)


def peak_megabytes() -> float:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True)
class CommandUse:
    """What a command used, with all processes that it started.

    Attributes:
      output: what it printed on standard output.
      seconds: wall time.
      cpu_seconds: processor time, user and system.
      peak_megabytes: of all its processes together; what they share counts once. Looked at a few
        times a second, and no less than what one of them had held until then.
      written_megabytes: what went to disks, files that were deleted again included.
    """

    output: str
    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    written_megabytes: float


_LOOK_SECONDS = 0.25
_WAIT_PER_LOOK = 50
_BLOCK_BYTES = 512


def run_measured(command: Sequence[str]) -> CommandUse:
    """Runs a command until its end.

    Raises:
      subprocess.CalledProcessError: it failed; what it said is on standard error.
    """
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, has_ended = 0.0, threading.Event()

    def look() -> None:
        nonlocal peak
        wait = _LOOK_SECONDS
        while not has_ended.wait(wait):
            began = time.monotonic()
            peak = max(peak, _tree_megabytes(process.pid))
            # A look at many gigabytes takes long, and holds up whom it looks at.
            wait = max(_LOOK_SECONDS, _WAIT_PER_LOOK * (time.monotonic() - began))

    looking = threading.Thread(target=look)
    looking.start()
    assert process.stdout is not None
    output = process.stdout.read()
    # Waiting by ourselves: the system counts children that a process has waited for as its own.
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    has_ended.set()
    looking.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return CommandUse(
        output,
        seconds,
        used.ru_utime + used.ru_stime,
        peak,
        used.ru_oublock * _BLOCK_BYTES / 1e6,
    )


def _tree_megabytes(root: int) -> float:
    """Memory of a process and of all below it, or the most that one of them ever held.

    Of pages that several hold, each counts its part. What the system says of a child that has ended
    (ru_maxrss) would not do: it is at least what its parent held when the child began.
    """
    together, largest, processes = 0, 0, [root]
    while processes:
        process = processes.pop()
        with suppress(OSError):  # Processes end meanwhile.
            for children in Path(f"/proc/{process}/task").glob("*/children"):
                processes += map(int, children.read_text().split())
            together += _kilobytes(process, "smaps_rollup", "Pss:")
            largest = max(largest, _kilobytes(process, "status", "VmHWM:"))
    return max(together, largest) / 1024


def _kilobytes(process: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def print_measure(benchmark: str, **values: object) -> str:
    """Prints one JSON line, and returns it; floats with four significant digits."""
    rounded = {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in values.items()
    }
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    line = json.dumps({"benchmark": benchmark, **rounded, **machine})
    print(line, flush=True)
    return line


def _processor_seconds() -> float:
    """Processor time to the microsecond; `os.times` counts in hundredths of a second."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
