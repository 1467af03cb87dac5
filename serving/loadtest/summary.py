"""Latency, throughput and failures of a phase, and whether the generator kept up."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np

from serving.loadtest.generator import Calls
from serving.protocol.messages import STATUS_CODES

# The generator's own lateness is part of every latency. Below this it never matters; above, it may
# be a tenth of the p99.
_HARMLESS_LAG_SECONDS = 0.001
_LARGEST_LAG_SHARE = 0.1
_LARGEST_PROCESSOR_SHARE = 0.9


@dataclasses.dataclass(frozen=True)
class Quantiles:
    """Quantiles of times in milliseconds; each is a time that was measured."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of_seconds(cls, seconds: np.ndarray) -> Quantiles:
        """Quantiles by nearest rank; 0 of no times."""
        if len(seconds) == 0:
            return cls(0.0, 0.0, 0.0, 0.0)
        quantiles = (nearest_rank(seconds, share) for share in (0.5, 0.95, 0.99, 1.0))
        return cls(*(float(f"{1000 * value:.4g}") for value in quantiles))


def nearest_rank(times: np.ndarray, share: float) -> float:
    """The shortest of some times that at least a share of all does not exceed."""
    return float(np.quantile(times, share, method="inverted_cdf"))


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a phase measured after its warm-up.

    Attributes:
      requests: number of requests that were due.
      answered: number of answers.
      failed: status code -> number of requests that failed with it.
      late_answers: answers later than the deadline, counted from when the request was due.
      held: requests that were due while too many were under way, and waited for their turn.
      throughput: answers per second, until the last one where the server fell behind.
      latency_ms: from when a request was due; a failure counts as the deadline at least.
      answer_ms: from when a request was sent: what a test that waits for each answer would call
        latency.
      versions: version that answered -> number of answers; "0" if it was not told.
      generator_lag_ms: how late requests were sent that nothing held.
      generator_loop_lag_ms: how late the generator noticed what happened.
      generator_processor_share: share of one core that the generator used.
      generator_too_slow: why the generator, rather than the server, may have set the result; empty
        if it kept up.
    """

    requests: int
    answered: int
    failed: dict[str, int]
    late_answers: int
    held: int
    throughput: float
    latency_ms: Quantiles
    answer_ms: Quantiles
    versions: dict[str, int]
    generator_lag_ms: Quantiles
    generator_loop_lag_ms: Quantiles
    generator_processor_share: float
    generator_too_slow: str


def summarise(
    calls: Calls, warmup_seconds: float, seconds: float, timeout_seconds: float
) -> Summary:
    """Sums up a phase.

    Args:
      calls: all calls.
      warmup_seconds: requests that were due before are left out.
      seconds: length of the schedule after that.
      timeout_seconds: the deadline.
    """
    counted = calls.selected(calls.due >= warmup_seconds)
    answered = counted.answered
    latencies = latencies_with_failures(counted, timeout_seconds)
    latency = Quantiles.of_seconds(latencies)
    lag = Quantiles.of_seconds((counted.sent - counted.due)[~counted.held])
    loop_lag = Quantiles.of_seconds(calls.loop_lags)
    processor_share = calls.processor_seconds / max(calls.wall_seconds, 1e-9)
    # A server that falls behind answers the last requests after the schedule has ended.
    span = max(seconds, counted.finished.max(initial=0.0) - warmup_seconds)
    codes = collections.Counter(counted.codes[~answered].tolist())
    versions = collections.Counter(counted.versions[answered].tolist())
    return Summary(
        requests=len(counted.due),
        answered=int(answered.sum()),
        failed={STATUS_CODES[code].name: count for code, count in codes.items()},
        late_answers=int((counted.latencies[answered] > timeout_seconds).sum()),
        held=int(counted.held.sum()),
        throughput=float(f"{answered.sum() / span:.4g}"),
        latency_ms=latency,
        answer_ms=Quantiles.of_seconds(counted.finished - counted.sent),
        versions={str(version): count for version, count in sorted(versions.items())},
        generator_lag_ms=lag,
        generator_loop_lag_ms=loop_lag,
        generator_processor_share=round(processor_share, 3),
        generator_too_slow=(
            _why_too_slow(lag, loop_lag, latency, processor_share) if len(counted.due) else ""
        ),
    )


def latencies_with_failures(calls: Calls, timeout_seconds: float) -> np.ndarray:
    """Latencies in seconds; a request that failed counts as the deadline at least, [n]."""
    at_least = np.where(calls.answered, 0.0, timeout_seconds)
    return np.maximum(calls.latencies, at_least)


def _why_too_slow(
    lag: Quantiles, loop_lag: Quantiles, latency: Quantiles, processor_share: float
) -> str:
    allowed = max(1000 * _HARMLESS_LAG_SECONDS, _LARGEST_LAG_SHARE * latency.p99)
    if lag.p99 > allowed:
        return (
            f"it sent requests {lag.p99:g} ms late (p99), more than a tenth of the p99 latency of "
            f"{latency.p99:g} ms"
        )
    if loop_lag.p99 > allowed:
        return (
            f"it noticed answers {loop_lag.p99:g} ms late (p99), more than a tenth of the p99 "
            f"latency of {latency.p99:g} ms"
        )
    if processor_share > _LARGEST_PROCESSOR_SHARE:
        return f"it used {processor_share:.0%} of the one core it can use"
    return ""
