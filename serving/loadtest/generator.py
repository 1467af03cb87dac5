"""Sends requests when they are due, in a process of its own, and records what became of them."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import grpc
import numpy as np

from configs.command_line import CommandError
from serving.loadtest.plan import Phase, Plan

CALLS_FILE = "calls.npz"
"""Where a generator leaves its calls, beside its plan."""

ANSWERED = 0
"""The gRPC status code of an answered call."""


@dataclasses.dataclass(frozen=True)
class Calls:
    """One row per request; times are seconds from the phase's start.

    Attributes:
      started: the phase's start, seconds since 1970.
      requests: which request it was, a place among the plan's, [n].
      due: when the request was due, [n].
      sent: when it was sent, [n].
      finished: when its answer, or its failure, was there, [n].
      codes: gRPC status codes as numbers; 0 is an answer, [n].
      versions: the model's version that answered; 0 if it did not tell, [n].
      held: whether the request was due while the bound on requests under way was reached, [n].
      loop_lags: how late the generator's event loop was when it was asked to wake up, [samples].
      processor_seconds: processor time of the generator in this phase.
      wall_seconds: length of the phase.
    """

    started: float
    requests: np.ndarray
    due: np.ndarray
    sent: np.ndarray
    finished: np.ndarray
    codes: np.ndarray
    versions: np.ndarray
    held: np.ndarray
    loop_lags: np.ndarray
    processor_seconds: float
    wall_seconds: float

    @property
    def latencies(self) -> np.ndarray:
        """Seconds from when a request was due until its answer or failure was there, [n]."""
        return self.finished - self.due

    @property
    def answered(self) -> np.ndarray:
        """Whether a request was answered, [n]."""
        return self.codes == ANSWERED

    def selected(self, chosen: np.ndarray) -> Self:
        """Some of the calls; what concerns the generator stays as it is.

        Args:
          chosen: which, bool [n].
        """
        rows = {name: getattr(self, name)[chosen] for name in _ROWS}
        return dataclasses.replace(self, **rows)


_ROWS = ("requests", "due", "sent", "finished", "codes", "versions", "held")


def write_calls(path: Path, phases: Iterable[Calls]) -> None:
    """Writes the calls of phases into one file."""
    arrays = {
        f"{name}_{number}": np.asarray(value)
        for number, calls in enumerate(phases)
        for name, value in vars(calls).items()
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_calls(path: Path, count: int) -> Sequence[Calls]:
    """Reads what `write_calls` wrote.

    Args:
      path: the file.
      count: number of phases.
    """
    names = [field.name for field in dataclasses.fields(Calls)]
    with np.load(path, allow_pickle=False) as arrays:
        return [
            Calls(
                **{
                    name: value if value.ndim else float(value)  # type: ignore[arg-type]
                    for name in names
                    for value in [arrays[f"{name}_{number}"]]
                }
            )
            for number in range(count)
        ]


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


_ROOT = Path(__file__).resolve().parents[2]


def run_plan(plan: Plan) -> Sequence[Calls]:
    """Sends a plan's requests from another process.

    Args:
      plan: the requests.

    Returns:
      The calls of each phase.

    Raises:
      CommandError: the process failed.
    """
    with tempfile.TemporaryDirectory(prefix="loadtest_") as temporary:
        folder = Path(temporary)
        plan.write(folder)
        done = subprocess.run(
            [sys.executable, "-m", "serving.loadtest.worker", temporary],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise CommandError(f"the load generator ended with {done.returncode}: {reason[0]}")
        return read_calls(folder / CALLS_FILE, len(plan.phases))
