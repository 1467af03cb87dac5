"""A new version of a served model, published while requests arrive."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.serving_workload import requests_for, serving
from serving.loadtest.arrivals import arrival_times
from serving.loadtest.calls import Calls
from serving.loadtest.plan import Phase, Plan
from serving.loadtest.request_sources import RequestSource
from serving.loadtest.running import run_plan
from serving.loadtest.summary import Quantiles, latencies_with_failures

_POLL_SECONDS = 0.2
_TIMEOUT_SECONDS = 10.0
_IN_FLIGHT = 512
_WARMUP_SECONDS = 3.0
_MODEL = "swapped"


def measure_swap(
    version: Path, source: RequestSource, candidates: int, rate: float, seconds: float, seed: int
) -> dict[str, object]:
    """Publishes a copy of a version as version 2 in the middle of a load.

    Args:
      version: a version folder.
      source: users and items to ask with.
      candidates: per request.
      rate: requests per second, Poisson.
      seconds: of load before and after.
      seed: of arrivals and candidates.

    Returns:
      Failed requests, p99 before, p99 of the second around the first answer of version 2 and of the
      worst second since it was published, and their ratios.
    """
    with tempfile.TemporaryDirectory(prefix="hot_swap_") as temporary:
        base = Path(temporary)
        shutil.copytree(version, base / "1")
        with serving({_MODEL: base}, f"--poll-seconds={_POLL_SECONDS}") as target:
            requests = requests_for(target, _MODEL, source, "rank", candidates, seed)
            due = arrival_times("poisson", rate, _WARMUP_SECONDS + 2 * seconds, seed)
            phase = Phase(due, np.arange(len(due)) % len(requests), _IN_FLIGHT, _TIMEOUT_SECONDS)
            publishing = _Publishing(_WARMUP_SECONDS + seconds, base / "1", base / "2")
            publishing.start()
            (calls,) = run_plan(Plan([target], requests, [0] * len(requests), [phase]))
            publishing.join()
    return summarise_swap(calls, _WARMUP_SECONDS, publishing.published - calls.started)


def summarise_swap(
    calls: Calls, warmup_seconds: float, published_seconds: float
) -> dict[str, object]:
    """Compares the time around a change of versions with the time before.

    Args:
      calls: of a load in which version 2 follows version 1.
      warmup_seconds: what is due before is left out.
      published_seconds: when version 2 was published.
    """
    latencies = latencies_with_failures(calls, _TIMEOUT_SECONDS)
    of_new = calls.finished[calls.versions == 2]
    if len(of_new) == 0:
        raise SystemExit("version 2 never answered; is the load too short for it to be loaded?")
    swapped = float(of_new.min())

    def p99(start: float, end: float) -> float:
        return Quantiles.of_seconds(latencies[(calls.due >= start) & (calls.due < end)]).p99

    before = p99(warmup_seconds, published_seconds - 1.0)
    swap = p99(swapped - 0.5, swapped + 0.5)
    starts = np.arange(published_seconds - 1.0, swapped + 1.0, 0.1)
    worst = max(p99(start, start + 1.0) for start in starts)
    return {
        "requests": len(calls.due),
        "failed": int((~calls.answered).sum()),
        "answers_of_new_version": len(of_new),
        "seconds_until_new_version": swapped - published_seconds,
        "p99_before_ms": before,
        "p99_swap_second_ms": swap,
        "p99_worst_second_ms": worst,
        "swap_ratio": swap / before,
        "worst_ratio": worst / before,
    }


class _Publishing(threading.Timer):
    """Publishes a copy of a version after some seconds.

    Attributes:
      published: when it did, seconds since 1970.
    """

    def __init__(self, seconds: float, version: Path, new: Path):
        super().__init__(seconds, self._publish)
        self.published = 0.0
        self._version = version
        self._new = new

    def _publish(self) -> None:
        # A name that is no number is no version, so that the server never finds half of one.
        unfinished = self._new.with_name("unfinished")
        shutil.copytree(self._version, unfinished)
        self.published = time.time()
        unfinished.rename(self._new)
