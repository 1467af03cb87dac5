"""Measures a server at arrival rates, or searches the highest rate that keeps a limit."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Sequence

import numpy as np

from serving.client.connection import Tls
from serving.client.errors import ModelAddress
from serving.client.inputs import ModelInputs
from serving.loadtest.generator import Calls, LoadPlan, Phase, arrival_times, run_load
from serving.loadtest.requests import RequestSource, serialized_requests
from serving.loadtest.summary import Summary, summarise
from serving.options import Schedule


@dataclasses.dataclass(frozen=True)
class RateTrial:
    """One rate that was tried.

    Attributes:
      rate: requests per second.
      kept: whether the limit was kept.
    """

    rate: float
    kept: bool


@dataclasses.dataclass(frozen=True)
class Limit:
    """What a search found.

    Attributes:
      rate: the highest rate that kept the limit; 0 if none did.
      exceeded: the lowest rate above it that did not; None if every rate kept the limit.
      steps: the rates that were tried, in order.
    """

    rate: float
    exceeded: float | None
    steps: tuple[RateTrial, ...]


def find_limit(
    keeps_limit: Callable[[float], bool],
    first_rate: float,
    lowest_rate: float,
    highest_rate: float,
    precision: float = 0.1,
) -> Limit:
    """Doubles the rate until the limit is exceeded, then halves the interval.

    Args:
      keeps_limit: measures at a rate, in requests per second.
      first_rate: where to begin; it is halved while it exceeds the limit.
      lowest_rate: not tried below.
      highest_rate: not tried beyond.
      precision: the search ends when the rates around the limit differ by this share.
    """
    steps: list[RateTrial] = []

    def kept(rate: float) -> bool:
        steps.append(RateTrial(rate, keeps_limit(rate)))
        return steps[-1].kept

    rate = min(max(first_rate, lowest_rate), highest_rate)
    if kept(rate):
        low, high = rate, rate
        while low < highest_rate:
            high = min(2 * low, highest_rate)
            if not kept(high):
                break
            low = high
        else:
            return Limit(low, None, tuple(steps))
    else:
        low, high = rate, rate
        while high > lowest_rate:
            low = max(high / 2, lowest_rate)
            if kept(low):
                break
            high = low
        else:
            return Limit(0.0, high, tuple(steps))
    while high > low * (1 + precision):
        middle = (low + high) / 2
        if kept(middle):
            low = middle
        else:
            high = middle
    return Limit(low, high, tuple(steps))


# A p99 of fewer requests is their slowest.
_REQUESTS_FOR_P99 = 100
# Where a search for the limit begins, requests per second.
_FIRST_RATE = 20.0
_TRIES = 2
_FAILURES_ALLOWED = 0.01


@dataclasses.dataclass(frozen=True)
class RateMeasurement:
    """What was measured with one number of candidates at one rate.

    Attributes:
      candidates: per request.
      rate: requests per second that were due.
      summary: the figures.
      calls: every call, warm-up included.
    """

    candidates: int
    rate: float
    summary: Summary
    calls: Calls


class LoadTest:
    """Measures one signature of a served model."""

    def __init__(
        self,
        address: ModelAddress,
        model_inputs: ModelInputs,
        source: RequestSource,
        signature_name: str,
        schedule: Schedule,
        tls: Tls | None = None,
    ):
        """Keeps what to send.

        Args:
          address: the model; its target is `host:port`.
          model_inputs: how its inputs are written.
          source: users and items.
          signature_name: "rank" or "serving_default".
          schedule: how requests arrive.
          tls: certificates; without encryption if None.
        """
        self._address = address
        self._model_inputs = model_inputs
        self._source = source
        self._signature_name = signature_name
        self._schedule = schedule
        self._tls = tls

    def measure(self, candidates: int, rates: Sequence[float]) -> list[RateMeasurement]:
        """Measures at some rates, one after the other.

        Raises:
          CommandError: the generator failed.
        """
        schedule = self._schedule
        requests = serialized_requests(
            self._address,
            self._model_inputs,
            self._source,
            self._signature_name,
            candidates,
            schedule.seed,
        )
        phases = [self._phase(rate, len(requests)) for rate in rates]
        plan = LoadPlan(
            target=self._address.target,
            requests=requests,
            phases=phases,
            tls=self._tls,
        )
        return [
            RateMeasurement(
                candidates,
                rate,
                summarise(
                    calls, schedule.warmup_seconds, schedule.seconds, schedule.timeout_seconds
                ),
                calls,
            )
            for rate, calls in zip(rates, run_load(plan), strict=True)
        ]

    def find_limit(
        self,
        candidates: int,
        p99_limit_ms: float,
        highest_rate: float,
        progress: Callable[[RateMeasurement], None],
    ) -> tuple[Limit, list[RateMeasurement]]:
        """Searches for the highest rate whose p99 keeps a limit.

        No rate is tried at which fewer than a hundred requests are due on average, unless
        `highest_rate` is below it.

        A rate at which more than 1 % of the requests fail does not keep the limit; those that fail
        count as the deadline at least. A rate that exceeds the limit while the generator was too
        slow is tried once more.

        Args:
          candidates: per request.
          p99_limit_ms: milliseconds.
          highest_rate: requests per second; not tried beyond.
          progress: is told every measure.

        Raises:
          CommandError: the generator failed.
        """
        measures: list[RateMeasurement] = []

        def keeps_limit(rate: float) -> bool:
            for _ in range(_TRIES):
                (measure,) = self.measure(candidates, [rate])
                progress(measure)
                measures.append(measure)
                # What the generator adds is part of the latency: a limit kept is kept.
                summary = measure.summary
                failed = summary.requests - summary.answered
                few = failed <= _FAILURES_ALLOWED * summary.requests
                if few and summary.latency_ms.p99 <= p99_limit_ms:
                    return True
                if not measure.summary.generator_too_slow:
                    return False
            return False

        lowest_rate = min(_REQUESTS_FOR_P99 / self._schedule.seconds, highest_rate)
        return find_limit(keeps_limit, _FIRST_RATE, lowest_rate, highest_rate), measures

    def _phase(self, rate: float, distinct: int) -> Phase:
        schedule = self._schedule
        seconds = schedule.warmup_seconds + schedule.seconds
        due = arrival_times(schedule.arrivals, rate, seconds, schedule.seed)
        return Phase(
            due, np.arange(len(due)) % distinct, schedule.in_flight, schedule.timeout_seconds
        )


def is_this_machine(host: str, port: int) -> bool:
    """Whether an address belongs to the machine that asks."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Sends nothing: the system only chooses the address that it would send from.
            probe.connect(address)
            return probe.getsockname()[0] == address[0]
    except OSError:
        return False
