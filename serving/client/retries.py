"""Retries with jittered waits under one deadline, and hedging with a second request."""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

import grpc

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
            attempt failed. Where a late answer is tried again and the last attempt had only the
            rest of the time, the error is that of the attempt before, which says more.
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
        self._previous: RankingError | None = None
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
            if error.code == "DEADLINE_EXCEEDED" and self._previous is not None:
                raise self._previous
            raise error
        self._previous = error
        return wait


# What a quiet time saves up. More would let a server that turns slow meet many hedges at once.
_LARGEST_BURST = 10.0
Response = TypeVar("Response")


@dataclasses.dataclass(frozen=True)
class Hedging:
    """When a request is sent a second time. Only for calls that change nothing, as ranking is.

    Attributes:
      after_seconds: time without an answer after which the request is sent again; the p95 of the
        latency is a good choice.
      largest_share: hedges are at most this share of the client's requests, however slow the server
        is, so that they cannot double its load.
    """

    after_seconds: float
    largest_share: float = 0.05

    def __post_init__(self) -> None:
        if self.after_seconds <= 0:
            raise ValueError(f"after_seconds must be positive. Received: {self.after_seconds}")
        if not 0 < self.largest_share <= 1:
            raise ValueError(
                f"largest_share must be above 0 and at most 1. Received: {self.largest_share}"
            )


class HedgeBudget:
    """Counts requests and hedges; safe to use from many threads.

    Attributes:
      requests: requests sent first.
      hedges: requests sent again; at most `largest_share` of `requests`.
    """

    def __init__(self, largest_share: float):
        self.requests = 0
        self.hedges = 0
        self._share = largest_share
        self._saved = 0.0
        self._lock = threading.Lock()

    def count_request(self) -> None:
        """A request is sent: its share is saved."""
        with self._lock:
            self.requests += 1
            self._saved = min(self._saved + self._share, _LARGEST_BURST)

    def take(self) -> bool:
        """Whether a hedge may be sent; if so, it is counted."""
        with self._lock:
            # Tenths do not add up exactly: ten shares of 0.1 must allow one hedge.
            if self._saved < 1 - 1e-9:
                return False
            self._saved = max(0.0, self._saved - 1)
            self.hedges += 1
            return True


class Hedger:
    """Sends requests, and again those that are slow.

    Attributes:
      budget: how many were sent.
    """

    def __init__(self, hedging: Hedging):
        self._hedging = hedging
        self.budget = HedgeBudget(hedging.largest_share)

    def first_response(self, start: Callable[[float], Any], timeout_seconds: float) -> Any:
        """The first answer; the slower request is cancelled.

        Args:
          start: sends the request with so many seconds until its deadline and returns its
            `grpc.Future`.
          timeout_seconds: the deadline of both requests.

        Raises:
          grpc.RpcError: no request was answered.
        """
        self.budget.count_request()
        answered: queue.SimpleQueue[Any] = queue.SimpleQueue()
        calls = [_started(start(timeout_seconds), answered)]
        try:
            winner = answered.get(timeout=self._hedging.after_seconds)
        except queue.Empty:
            if self.budget.take():
                left = timeout_seconds - self._hedging.after_seconds
                calls.append(_started(start(left), answered))
            winner = answered.get()
        if len(calls) == 2 and winner.code() is not grpc.StatusCode.OK:
            winner = answered.get()
        for call in calls:
            if call is not winner:
                call.cancel()
        return winner.result()

    async def first_answer_async(
        self, start: Callable[[float], Awaitable[Response]], timeout_seconds: float
    ) -> Response:
        """Does as `first_response` does, without holding up the event loop.

        Args:
          start: sends the request with so many seconds until its deadline and returns what to wait
            for.
          timeout_seconds: the deadline of both requests.

        Raises:
          grpc.RpcError: no request was answered.
        """
        self.budget.count_request()
        tasks = [asyncio.ensure_future(start(timeout_seconds))]
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._hedging.after_seconds)
            if not done and self.budget.take():
                left = timeout_seconds - self._hedging.after_seconds
                tasks.append(asyncio.ensure_future(start(left)))
            waiting = set(tasks)
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                answered = [task for task in done if task.exception() is None]
                if answered or not waiting:
                    return (answered or list(done))[0].result()
        finally:
            for task in tasks:
                task.cancel()


def _started(call: Any, answered: queue.SimpleQueue[Any]) -> Any:
    call.add_done_callback(answered.put)
    return call
