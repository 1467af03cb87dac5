"""A second request where the first is slow, within a budget.

Dean and Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013: a request that is sent
again after the time that most answers take removes much of the tail, for a few more requests.
"""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

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

    def first_answer(self, start: Callable[[float], Any], timeout_seconds: float) -> Any:
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
        """Does as `first_answer` does, without holding up the event loop.

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
