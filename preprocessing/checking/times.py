"""Whether parts follow each other in time over all users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from preprocessing.records.contract import PARTS

_FAR = 1 << 62


@dataclass
class PartTimes:
    """First and last time of each part."""

    _first: list[int] = field(default_factory=lambda: [_FAR] * len(PARTS))
    _last: list[int] = field(default_factory=lambda: [-_FAR] * len(PARTS))

    def add(self, part: int, time: int) -> None:
        """Takes in one example of a part, given by its index in PARTS."""
        self._first[part] = min(self._first[part], time)
        self._last[part] = max(self._last[part], time)

    def problems(self) -> Iterator[str]:
        """Parts that begin before an earlier one has ended."""
        present = [part for part in range(len(PARTS)) if self._last[part] > -_FAR]
        for part, following in zip(present, present[1:], strict=False):
            if self._last[part] >= self._first[following]:
                yield (
                    f"{PARTS[part]} ends at time {self._last[part]}, {PARTS[following]} begins at "
                    f"{self._first[following]}"
                )
