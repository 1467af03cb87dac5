"""Lines of a file in batches, with their numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from preprocessing.inputs import open_input

_LINES_PER_BATCH = 1000


def numbered_lines(path: str) -> Iterator[list[tuple[int, bytes]]]:
    """Line numbers, counted from 1, and lines of a file (.jsonl or .jsonl.gz), without blank ones.

    Yields:
      At most 1000 lines at once.
    """
    with open_input(path) as file:
        numbered = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        while lines := list(itertools.islice(numbered, _LINES_PER_BATCH)):
            yield lines
