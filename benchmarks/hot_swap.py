"""New versions of a served model, published while requests arrive."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.serving_workload import requests_for, serving
from serving.loadtest.generator import Calls, LoadPlan, Phase, arrival_times, run_load
from serving.loadtest.requests import RequestSource
from serving.loadtest.summary import Quantiles, latencies_with_failures

_POLL_SECONDS = 0.2
_TIMEOUT_SECONDS = 10.0
_IN_FLIGHT = 512
_WARMUP_SECONDS = 3.0
_MODEL = "swapped"


def measure_swaps(
    version: Path,
    source: RequestSource,
    candidates: int,
    rate: float,
    seconds: float,
    swaps: int,
    seed: int,
) -> dict[str, object]:
    """Publishes copies of a version as versions 2, 3, ... while requests arrive.

    Args:
      version: a version folder.
      source: users and items to ask with.
      candidates: per request.
      rate: requests per second, Poisson.
      seconds: of load before, between and after the swaps; more than a version takes to load.
      swaps: how many.
      seed: of arrivals and candidates.

    Returns:
      See `summarise_swaps`.

    Raises:
      SystemExit: a version never answered.
    """
    with tempfile.TemporaryDirectory(prefix="hot_swap_") as temporary:
        base = Path(temporary)
        shutil.copytree(version, base / "1")
        with serving({_MODEL: base}, f"--poll-seconds={_POLL_SECONDS}") as server:
            requests = requests_for(server.target, _MODEL, source, "rank", candidates, seed)
            length = _WARMUP_SECONDS + (swaps + 1) * seconds
            due = arrival_times("poisson", rate, length, seed)
            phase = Phase(due, np.arange(len(due)) % len(requests), _IN_FLIGHT, _TIMEOUT_SECONDS)
            publishing = [
                _Publishing(_WARMUP_SECONDS + number * seconds, base / "1", base / str(number + 1))
                for number in range(1, swaps + 1)
            ]
            for one in publishing:
                one.start()
            (calls,) = run_load(LoadPlan(server.target, requests, [phase]))
            for one in publishing:
                one.join()
    published = [one.published - calls.started for one in publishing]
    return summarise_swaps(calls, _WARMUP_SECONDS, published)


def summarise_swaps(
    calls: Calls, warmup_seconds: float, published_seconds: Sequence[float]
) -> dict[str, object]:
    """Compares the time around changes of versions with the quiet time between them.

    Args:
      calls: of a load in which versions 2, 3, ... follow version 1.
      warmup_seconds: what is due before is left out.
      published_seconds: when each was published.

    Returns:
      Failed requests; p99 of quiet time, which ends a second before a version is published and
      begins a second after its first answer; p99 of the seconds around these first answers, all
      together; the worst second of each swap since the version was published, in the middle and at
      worst; and the ratios of these to quiet time.

    Raises:
      SystemExit: a version never answered.
    """
    latencies = latencies_with_failures(calls, _TIMEOUT_SECONDS)
    undisturbed, around = calls.due >= warmup_seconds, np.zeros(len(calls.due), bool)
    worst, loading = [], []
    for version, published in enumerate(published_seconds, 2):
        first_answers = calls.finished[calls.versions == version]
        if len(first_answers) == 0:
            raise SystemExit(
                f"version {version} never answered; is the load too short for it to be loaded?"
            )
        swapped = float(first_answers.min())
        loading.append(swapped - published)
        undisturbed &= ~_between(calls.due, published - 1.0, swapped + 1.0)
        around |= _between(calls.due, swapped - 0.5, swapped + 0.5)
        worst.append(
            max(
                _p99(latencies[_between(calls.due, start, start + 1.0)])
                for start in np.arange(published - 1.0, swapped + 1.0, 0.1)
            )
        )
    before, swap = _p99(latencies[undisturbed]), _p99(latencies[around])
    return {
        "requests": len(calls.due),
        "failed": int((~calls.answered).sum()),
        "swaps": len(worst),
        "answers_of_new_versions": int((calls.versions > 1).sum()),
        "seconds_until_new_version": float(np.median(loading)),
        "p99_quiet_ms": before,
        "p99_swap_seconds_ms": swap,
        "p99_worst_second_ms": float(np.median(worst)),
        "swap_ratio": swap / before,
        "worst_second_ratio": float(np.median(worst)) / before,
        "worst_second_of_all_ratio": max(worst) / before,
    }


def _between(due: np.ndarray, start: float, end: float) -> np.ndarray:
    return (due >= start) & (due < end)


def _p99(latencies: np.ndarray) -> float:
    """99th percentile in milliseconds."""
    return Quantiles.of_seconds(latencies).p99


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
        unfinished = self._new.with_name(f"unfinished_{self._new.name}")
        shutil.copytree(self._version, unfinished)
        self.published = time.time()
        unfinished.rename(self._new)
