"""What a block of code holds in memory, in bytes that every run of it gives alike."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pyarrow as pa

_pools: list[pa.MemoryPool] = []
"""Kept, since whatever work has made and left behind is given back to its pool."""


def most_held(work: Callable[[], object]) -> int:
    """The most bytes that work holds beyond what was there before it began.

    Of Python and NumPy (tracemalloc), and of Arrow, whose most is added, even of another moment.
    What C++ libraries take for themselves, such as DuckDB and TensorFlow, is not seen.
    """
    gc.collect()  # Or how much of the work's garbage is still there depends on what was before.
    tracemalloc.start()
    try:
        by_arrow = most_held_by_arrow(work)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak + by_arrow


def most_held_by_arrow(work: Callable[[], object]) -> int:
    """The most bytes of Arrow's that work holds."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    _pools.append(pool)
    pa.set_memory_pool(pool)
    try:
        work()
    finally:
        pa.set_memory_pool(before)
    return pool.max_memory()


def held_for_each(work: Callable[[int], Callable[[], object]], few: int, many: int) -> float:
    """By how many bytes the most that is held grows for each of the things that work is about.

    Args:
      work: makes what is measured for a number of things; what it needs is made outside of that.
      few: a number of things.
      many: another, larger one.
    """
    return (most_held(work(many)) - most_held(work(few))) / (many - few)
