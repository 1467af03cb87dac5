"""Retries with growing, jittered waits under one deadline."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable
from typing import TypeVar

from serving.client.errors import ServerUnavailable

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a client tries.

    Waits double from one attempt to the next. Each is shortened at random by up to a half, so that
    clients that lost the same server do not come back in step.

    Attributes:
      timeout_seconds: deadline of one call with all its attempts and waits.
      maximum_attempts: at least 1.
      first_wait_seconds: wait after the first attempt.
      longest_wait_seconds: upper bound of a wait.
    """

    timeout_seconds: float = 2.0
    maximum_attempts: int = 5
    first_wait_seconds: float = 0.05
    longest_wait_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds must be positive. Received: {self.timeout_seconds}")
        if self.maximum_attempts < 1:
            raise ValueError(
                f"maximum_attempts must be at least 1. Received: {self.maximum_attempts}"
            )

    def call(self, attempt: Callable[[float], Result]) -> Result:
        """Calls `attempt` until it succeeds, fails for good, or time or attempts run out.

        Args:
          attempt: takes the seconds left until the deadline.

        Returns:
          What the successful attempt returned.

        Raises:
          ServerUnavailable: the server was unavailable in the last attempt.
          RankingError: an attempt failed in a way that trying again does not change.
        """
        deadline = time.monotonic() + self.timeout_seconds
        for number in range(1, self.maximum_attempts):
            try:
                return attempt(deadline - time.monotonic())
            except ServerUnavailable:
                wait = self._wait_seconds(number)
                if time.monotonic() + wait >= deadline:
                    raise
                time.sleep(wait)
        return attempt(deadline - time.monotonic())

    def _wait_seconds(self, attempts_made: int) -> float:
        longest = min(
            self.longest_wait_seconds, self.first_wait_seconds * 2.0 ** (attempts_made - 1)
        )
        return longest * random.uniform(0.5, 1.0)
