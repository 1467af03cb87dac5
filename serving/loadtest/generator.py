"""The load generator: requests that are due on a schedule, sent from a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import io
import json
import selectors
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import grpc
import numpy as np

from configs.command_line import CommandError
from serving.client.connection import Connection, Tls
from serving.protocol.messages import predict_pb2

ANSWERED = 0
"""The gRPC status code of an answered call."""


def arrival_times(arrivals: str, rate: float, seconds: float, seed: int) -> np.ndarray:
    """Times at which requests are due, whatever the server does.

    Args:
      arrivals: "poisson" for independent users, with gaps that are exponentially distributed, or
        "even" for equal gaps.
      rate: requests per second.
      seconds: length of the schedule.
      seed: of the gaps.

    Returns:
      Seconds from the start, ascending, each below `seconds`, float64 [requests].
    """
    if arrivals == "even":
        return np.arange(round(rate * seconds)) / rate
    generator = np.random.default_rng(seed)
    # Of a Poisson process the number in an interval is Poisson, and given it the times are uniform.
    count = generator.poisson(rate * seconds)
    return np.sort(generator.uniform(0.0, seconds, count))


@dataclasses.dataclass(frozen=True)
class Phase:
    """Requests that follow a schedule. The next phase begins when all are answered.

    Attributes:
      due: seconds from the phase's start at which each request is due, ascending, [n].
      requests: which request that is, a place among the plan's, [n].
      in_flight: so many requests are under way at most; what is due meanwhile waits, and its
        latency counts on.
      timeout_seconds: deadline of a request from when it is sent.
    """

    due: np.ndarray
    requests: np.ndarray
    in_flight: int
    timeout_seconds: float


@dataclasses.dataclass(frozen=True)
class LoadPlan:
    """Everything that a generator needs.

    Attributes:
      target: `host:port` of the server.
      requests: serialized `PredictRequest`s.
      phases: one after the other.
      tls: certificates; without encryption if None.
    """

    target: str
    requests: Sequence[bytes]
    phases: Sequence[Phase]
    tls: Tls | None = None

    def to_bytes(self) -> bytes:
        """The plan for another process."""
        settings = {
            "target": self.target,
            "tls": None if self.tls is None else dataclasses.asdict(self.tls),
            "phases": [
                {"in_flight": phase.in_flight, "timeout_seconds": phase.timeout_seconds}
                for phase in self.phases
            ],
        }
        arrays = {
            "settings": np.array(json.dumps(settings, default=str)),
            "content": np.frombuffer(b"".join(self.requests), np.uint8),
            "ends": np.cumsum([len(request) for request in self.requests]),
        }
        for number, phase in enumerate(self.phases):
            arrays[f"due_{number}"] = phase.due
            arrays[f"requests_{number}"] = phase.requests
        return _packed(arrays)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Reads what `to_bytes` made."""
        arrays = _unpacked(data)
        settings = json.loads(arrays["settings"].item())
        content, ends = arrays["content"].tobytes(), arrays["ends"].tolist()
        return cls(
            target=settings["target"],
            requests=[content[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)],
            phases=[
                Phase(arrays[f"due_{number}"], arrays[f"requests_{number}"], **phase)
                for number, phase in enumerate(settings["phases"])
            ],
            tls=None if settings["tls"] is None else Tls(**settings["tls"]),
        )


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpacked(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


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


def calls_to_bytes(phases: Sequence[Calls]) -> bytes:
    """The calls of phases for another process."""
    return _packed(
        {
            f"{name}_{number}": np.asarray(value)
            for number, calls in enumerate(phases)
            for name, value in vars(calls).items()
        }
    )


def calls_from_bytes(data: bytes, phases: int) -> list[Calls]:
    """Reads what `calls_to_bytes` made, of a number of phases."""
    arrays = _unpacked(data)
    names = [field.name for field in dataclasses.fields(Calls)]
    values = [{name: arrays[f"{name}_{number}"] for name in names} for number in range(phases)]
    return [
        Calls(**{name: value if value.ndim else value.item() for name, value in phase.items()})  # type: ignore[arg-type]
        for phase in values
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


_CONNECT_SECONDS = 2.0
_METHOD = "/tensorflow.serving.PredictionService/Predict"


async def carry_out(plan: LoadPlan) -> list[Calls]:
    """Sends the requests of a plan; what became of them, phase by phase."""
    async with Connection(tls=plan.tls).async_channel(plan.target) as channel:
        # Requests are serialized already, so that sending one costs little.
        method = channel.unary_unary(
            _METHOD, response_deserializer=predict_pb2.PredictResponse.FromString
        )

        async def send(number: int, timeout_seconds: float) -> int:
            response = await method(plan.requests[number], timeout=timeout_seconds)
            return response.model_spec.version.value

        # Without a server the requests themselves will say so.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(channel.channel_ready(), timeout=_CONNECT_SECONDS)
        return [await run_phase(send, phase) for phase in plan.phases]


def main() -> None:
    """The generator's process: carries out the plan of standard input, calls to standard output."""
    plan = LoadPlan.from_bytes(sys.stdin.buffer.read())
    # A collection in the middle would look like a slow server.
    gc.disable()
    # Waits to the microsecond; what asyncio takes by default rounds up to whole milliseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        calls = runner.run(carry_out(plan))
    sys.stdout.buffer.write(calls_to_bytes(calls))


_ROOT = Path(__file__).resolve().parents[__name__.count(".")]


def run_load(plan: LoadPlan) -> Sequence[Calls]:
    """Sends a plan's requests from another process.

    Args:
      plan: the requests.

    Returns:
      The calls of each phase.

    Raises:
      CommandError: the process failed.
    """
    if plan.tls is not None:
        # The process works in another folder.
        plan = dataclasses.replace(plan, tls=plan.tls.with_absolute_paths())
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import main; main()"],
        cwd=_ROOT,
        input=plan.to_bytes(),
        capture_output=True,
    )
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise CommandError(f"the load generator ended with {done.returncode}: {reason[0]}")
    return calls_from_bytes(done.stdout, len(plan.phases))
