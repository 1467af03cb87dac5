"""Retries with growing, jittered waits under one deadline."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import sys
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from serving.client.errors import RankingError

Result = TypeVar("Result")

_TRANSIENT = ("UNAVAILABLE",)
# A label that no version has yet is an invalid argument.
_NOT_READY = ("UNAVAILABLE", "NOT_FOUND", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED")
# What an attempt gets that begins when the time is up: transports refuse 0 and less.
_SHORTEST_SECONDS = 0.001


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
      retried_codes: codes of errors after which trying again may help.
    """

    timeout_seconds: float = 2.0
    maximum_attempts: int = 5
    first_wait_seconds: float = 0.05
    longest_wait_seconds: float = 1.0
    retried_codes: Collection[str] = _TRANSIENT

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds must be positive. Received: {self.timeout_seconds}")
        if self.maximum_attempts < 1:
            raise ValueError(
                f"maximum_attempts must be at least 1. Received: {self.maximum_attempts}"
            )

    @classmethod
    def until_ready(cls, timeout_seconds: float) -> RetryPolicy:
        """Tries for `timeout_seconds` until a model that is not there yet, or loads, is served."""
        return cls(timeout_seconds, sys.maxsize, longest_wait_seconds=0.5, retried_codes=_NOT_READY)

    def deadline(self) -> float:
        """When a call that begins now has to end, on the clock of `time.monotonic`."""
        return time.monotonic() + self.timeout_seconds

    def call(self, attempt: Callable[[float], Result], until: float | None = None) -> Result:
        """Calls `attempt` until it succeeds, fails for good, or time or attempts run out.

        Args:
          attempt: takes the seconds left until the deadline, more than 0.
          until: the deadline, where this is a part of a longer call; see `deadline`.

        Returns:
          What the successful attempt returned.

        Raises:
          RankingError: an attempt failed in a way that trying again does not change, or the last
            attempt failed.
        """
        attempts = _Attempts(self, until)
        while True:
            try:
                return attempt(attempts.seconds_left())
            except RankingError as error:
                time.sleep(attempts.wait_seconds(error))

    async def call_async(
        self, attempt: Callable[[float], Awaitable[Result]], until: float | None = None
    ) -> Result:
        """Does as `call` does, without holding up the event loop."""
        attempts = _Attempts(self, until)
        while True:
            try:
                return await attempt(attempts.seconds_left())
            except RankingError as error:
                await asyncio.sleep(attempts.wait_seconds(error))


class _Attempts:
    """The attempts of one call."""

    def __init__(self, policy: RetryPolicy, until: float | None):
        self._policy = policy
        self._made = 0
        self._deadline = policy.deadline() if until is None else until

    def seconds_left(self) -> float:
        return max(self._deadline - time.monotonic(), _SHORTEST_SECONDS)

    def wait_seconds(self, error: RankingError) -> float:
        """How long to wait after a failed attempt; raises its error when it was the last."""
        policy = self._policy
        if error.code not in policy.retried_codes:
            raise error
        longest = min(
            policy.longest_wait_seconds, policy.first_wait_seconds * 2.0 ** min(self._made, 60)
        )
        self._made += 1
        wait = longest * random.uniform(0.5, 1.0)
        if self._made >= policy.maximum_attempts or wait >= self.seconds_left():
            raise error
        return wait
