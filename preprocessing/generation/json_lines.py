"""Lines of a file in batches, with their numbers."""

from __future__ import annotations

from collections.abc import Iterator

from preprocessing.knowledge import answers

_LINES_PER_BATCH = 1000
_BYTES_PER_BATCH = 4 << 20


def numbered_lines(path: str) -> Iterator[list[tuple[int, bytes]]]:
    """Line numbers, counted from 1, and lines of a file (.jsonl or .jsonl.gz), without blank ones.

    Yields:
      1000 lines or 4 MB at once.
    """
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, line in answers.numbered_lines(path):
        batch.append((number, line))
        size += len(line)
        if len(batch) == _LINES_PER_BATCH or size >= _BYTES_PER_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
