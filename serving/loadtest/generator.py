"""Sends requests when they are due, whether or not earlier ones are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
import numpy as np

from serving.loadtest.calls import ANSWERED, Calls
from serving.loadtest.plan import Phase

# The first request is due so long after the phase's start, so that nothing is late from the outset.
_LEAD_SECONDS = 0.05
_LAG_SAMPLE_SECONDS = 0.01

Send = Callable[[int, float], Awaitable[int]]
"""Sends a request of the plan with a deadline in seconds; gives the version that answered."""


async def run_phase(send: Send, phase: Phase) -> Calls:
    """Sends the requests of a phase and waits until all are answered or have failed.

    No request is left out: one that is due while too many are under way is sent as soon as there is
    place, and the time it waited is part of its latency, as it would be for its user.

    Args:
      send: sends one request.
      phase: which, and when.
    """
    count = len(phase.due)
    sent, finished = np.zeros(count), np.zeros(count)
    codes, versions = np.zeros(count, np.int64), np.zeros(count, np.int64)
    held = np.zeros(count, bool)
    places = asyncio.Semaphore(phase.in_flight)
    processor, started = time.process_time(), time.perf_counter() + _LEAD_SECONDS

    def now() -> float:
        return time.perf_counter() - started

    async def call(number: int) -> None:
        sent[number] = now()
        try:
            versions[number] = await send(int(phase.requests[number]), phase.timeout_seconds)
            codes[number] = ANSWERED
        except grpc.RpcError as error:
            codes[number] = error.code().value[0]
        finally:
            finished[number] = now()
            places.release()

    lags: list[float] = []
    monitor = asyncio.ensure_future(_sample_lags(lags))
    tasks = []
    # Until then the bound held requests back.
    held_until = -np.inf
    for number, due in enumerate(phase.due.tolist()):
        await asyncio.sleep(max(0.0, due - now()))
        held[number] = places.locked() or due < held_until
        if places.locked():
            await places.acquire()
            held_until = now()
        else:
            await places.acquire()
        tasks.append(asyncio.ensure_future(call(number)))
    await asyncio.gather(*tasks)
    monitor.cancel()
    return Calls(
        started=time.time() - now(),
        requests=phase.requests,
        due=phase.due,
        sent=sent,
        finished=finished,
        codes=codes,
        versions=versions,
        held=held,
        loop_lags=np.asarray(lags or [0.0]),
        processor_seconds=time.process_time() - processor,
        wall_seconds=now() + _LEAD_SECONDS,
    )


async def _sample_lags(lags: list[float]) -> None:
    while True:
        asleep = time.perf_counter()
        await asyncio.sleep(_LAG_SAMPLE_SECONDS)
        lags.append(time.perf_counter() - asleep - _LAG_SAMPLE_SECONDS)
