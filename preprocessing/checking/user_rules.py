"""What the examples of one user must be together: parts in order, and the leak rule.

All examples of a user lie in files of one number, so that what is known of users fits into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from preprocessing.hashing import anonymous
from preprocessing.records.contract import PARTS

_FAR = 1 << 62


@dataclass
class _Range:
    """Smallest and largest position and time of a user's examples in one part."""

    first_position: int = _FAR
    last_position: int = -_FAR
    first_time: int = _FAR
    last_time: int = -_FAR

    def add(self, position: int, time: int) -> None:
        """Takes in one example."""
        self.first_position = min(self.first_position, position)
        self.last_position = max(self.last_position, position)
        self.first_time = min(self.first_time, time)
        self.last_time = max(self.last_time, time)


@dataclass
class UserRanges:
    """The users of some shards.

    Attributes:
      split_by: `split.by` of the settings.
      cap: `split.knowledge_history_cap` of the settings.
      ordered_by_time: False when the log has an order column: a user's interactions then follow
        each other whatever their times.
    """

    split_by: str
    cap: int
    ordered_by_time: bool = True
    _users: dict[bytes, list[_Range]] = field(default_factory=dict)

    def add(self, user: bytes, part: int, position: int, time: int) -> None:
        """Takes in one example of a part, given by its index in PARTS."""
        ranges = self._users.get(user)
        if ranges is None:
            ranges = self._users[user] = [_Range() for _ in PARTS]
        ranges[part].add(position, time)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Check and message of everything that is wrong, with hashed user ids."""
        for user, ranges in self._users.items():
            name = f"user {anonymous(user.decode('utf-8', 'replace'))}"
            present = [
                (part, found)
                for part, found in zip(PARTS, ranges, strict=True)
                if found.last_position >= 0
            ]
            yield from self._leaks(name, [found for _, found in present])
            yield from self._order(name, present)

    def _leaks(self, name: str, ranges: list[_Range]) -> Iterator[tuple[str, str]]:
        """A user's last sample is the last interaction, so n_u and k_u follow from positions."""
        interactions = max(found.last_position for found in ranges) + 1
        boundary = min((interactions + 1) // 2, self.cap)
        first = min(found.first_position for found in ranges)
        if first < boundary:
            yield (
                "leak_rule",
                f"{name}: an example at position {first}, but of {interactions} interactions the "
                f"LLM may have seen the first {boundary}",
            )

    def _order(self, name: str, present: list[tuple[str, _Range]]) -> Iterator[tuple[str, str]]:
        if self.split_by == "user" and len(present) > 1:
            parts = " and ".join(part for part, _ in present)
            yield "user_in_two_parts", f"{name}: has examples in {parts}"
        if self.split_by != "time":
            return
        for (part, earlier), (next_part, later) in zip(present, present[1:], strict=False):
            if earlier.last_position >= later.first_position:
                yield (
                    "parts_out_of_order",
                    f"{name}: position {earlier.last_position} is in {part}, the earlier or equal "
                    f"position {later.first_position} in {next_part}",
                )
            elif self.ordered_by_time and earlier.last_time > later.first_time:
                yield (
                    "parts_out_of_order",
                    f"{name}: time {earlier.last_time} is in {part}, the earlier time "
                    f"{later.first_time} in {next_part}",
                )
