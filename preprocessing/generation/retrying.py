"""Calls again after a transient failure, with jittered exponential backoff."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from preprocessing.generation.failures import Interrupted, TransientFailure

LONGEST_DELAY_SECONDS = 60.0
"""Upper bound of a backoff delay."""

LONGEST_RETRY_AFTER_SECONDS = 600.0
"""An endpoint that asks for a longer wait fails the call at once."""

Response = TypeVar("Response")


@dataclass(frozen=True)
class Retrying:
    """Delays are drawn from [0, min(60, first_delay * 2^n)) seconds ("full jitter").

    What the endpoint asks for in Retry-After is waited for in full, and the jitter is added, so
    that calls refused together do not come back together.

    Attributes:
      retries: calls after the first one.
      first_delay: upper bound of the first delay, in seconds.
      stop: ends all waiting.
    """

    retries: int
    first_delay: float
    stop: threading.Event

    def call(self, once: Callable[[], Response]) -> tuple[Response, int]:
        """Calls until there is a response.

        Returns:
          The response and the number of retries.

        Raises:
          TransientFailure: retries are used up, or the endpoint asks for too long a wait; its
            detail says how many calls were made.
          Interrupted: the run was stopped between two calls.
        """
        retry = 0
        while True:
            try:
                return once(), retry
            except TransientFailure as failure:
                too_long = (failure.retry_after or 0) > LONGEST_RETRY_AFTER_SECONDS
                if retry == self.retries or too_long:
                    asked = f", told to wait {failure.retry_after:.0f} s" if too_long else ""
                    failure.detail = f"{retry + 1} calls{asked}; {failure.detail}"
                    failure.retries = retry
                    raise
                delay = self.delay(retry, failure.retry_after)
            if self.stop.wait(delay):
                raise Interrupted
            retry += 1

    def delay(self, retry: int, retry_after: float | None) -> float:
        """Seconds to wait before retry number `retry`, counted from 0."""
        bound = min(LONGEST_DELAY_SECONDS, self.first_delay * 2.0**retry)
        return (retry_after or 0.0) + random.uniform(0, bound)
