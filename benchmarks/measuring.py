"""What all benchmarks share: one JSON line per measure, with what is needed to repeat it."""

from __future__ import annotations

import json
import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


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


def peak_megabytes() -> float:
    """The most memory this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_measure(benchmark: str, **values: object) -> None:
    """Prints one JSON line; floats with four significant digits."""
    rounded = {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in values.items()
    }
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    print(json.dumps({"benchmark": benchmark, **rounded, **machine}), flush=True)


def _processor_seconds() -> float:
    """To the microsecond; `os.times` counts in hundredths of a second."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
