"""Measures a server at arrival rates and numbers of candidates."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Sequence

import numpy as np

from serving.client.address import ModelAddress
from serving.client.model_inputs import ModelInputs
from serving.client.tls import Tls
from serving.loadtest.arrivals import arrival_times
from serving.loadtest.calls import Calls
from serving.loadtest.limit_search import Limit, find_limit
from serving.loadtest.plan import Phase, Plan
from serving.loadtest.request_sources import RequestSource
from serving.loadtest.requests import serialized_requests
from serving.loadtest.running import run_plan
from serving.loadtest.summary import Summary, summarise

# A p99 of fewer requests is their slowest.
_REQUESTS_FOR_P99 = 100
# Where a search for the limit begins, requests per second.
_FIRST_RATE = 20.0
_TRIES = 2


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How requests arrive.

    Attributes:
      arrivals: "poisson" or "even".
      seconds: measured seconds at each rate.
      warmup_seconds: seconds before them that are not counted.
      in_flight: requests under way, at most.
      timeout_seconds: deadline of a request.
      seed: of arrivals and candidates.
    """

    arrivals: str
    seconds: float
    warmup_seconds: float
    in_flight: int
    timeout_seconds: float
    seed: int


@dataclasses.dataclass(frozen=True)
class Measure:
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
        known: ModelInputs,
        source: RequestSource,
        signature_name: str,
        schedule: Schedule,
        tls: Tls | None = None,
    ):
        """Keeps what to send.

        Args:
          address: the model; its target is `host:port`.
          known: how its inputs are written.
          source: users and items.
          signature_name: "rank" or "serving_default".
          schedule: how requests arrive.
          tls: certificates; without encryption if None.
        """
        self._address = address
        self._known = known
        self._source = source
        self._signature_name = signature_name
        self._schedule = schedule
        self._tls = tls

    def measure(self, candidates: int, rates: Sequence[float]) -> list[Measure]:
        """Measures at some rates, one after the other.

        Raises:
          CommandError: the generator failed.
        """
        schedule = self._schedule
        requests = serialized_requests(
            self._address,
            self._known,
            self._source,
            self._signature_name,
            candidates,
            schedule.seed,
        )
        phases = [self._phase(rate, len(requests)) for rate in rates]
        plan = Plan(
            targets=[self._address.target],
            requests=requests,
            servers=[0] * len(requests),
            phases=phases,
            tls=self._tls,
        )
        return [
            Measure(
                candidates,
                rate,
                summarise(
                    calls, schedule.warmup_seconds, schedule.seconds, schedule.timeout_seconds
                ),
                calls,
            )
            for rate, calls in zip(rates, run_plan(plan), strict=True)
        ]

    def find_limit(
        self,
        candidates: int,
        p99_limit_ms: float,
        highest_rate: float,
        progress: Callable[[Measure], None],
    ) -> tuple[Limit, list[Measure]]:
        """Searches for the highest rate whose p99 keeps a limit.

        No rate is tried at which fewer than a hundred requests are due on average, unless
        `highest_rate` is below it.

        Failures count as the deadline at least, so that a limit below it allows 1 % of them. A rate
        that exceeds the limit while the generator was too slow is tried once more.

        Args:
          candidates: per request.
          p99_limit_ms: milliseconds.
          highest_rate: requests per second; not tried beyond.
          progress: is told every measure.

        Raises:
          CommandError: the generator failed.
        """
        measures: list[Measure] = []

        def keeps_limit(rate: float) -> bool:
            for _ in range(_TRIES):
                (measure,) = self.measure(candidates, [rate])
                progress(measure)
                measures.append(measure)
                # What the generator adds is part of the latency: a limit kept is kept.
                if measure.summary.latency_ms.p99 <= p99_limit_ms:
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
