"""What a load generator is to send, and when, in a folder that another process reads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from serving.client.connection import Tls


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


_SETTINGS_FILE = "plan.json"
_ARRAYS_FILE = "plan.npz"


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
class Plan:
    """Everything that a generator needs.

    Attributes:
      targets: `host:port` of each server.
      requests: serialized `PredictRequest`s.
      servers: the place of each request's server among the targets.
      phases: one after the other.
      tls: certificates; without encryption if None.
    """

    targets: Sequence[str]
    requests: Sequence[bytes]
    servers: Sequence[int]
    phases: Sequence[Phase]
    tls: Tls | None = None

    def write(self, folder: Path) -> None:
        """Writes the plan into a folder."""
        settings = {
            "targets": list(self.targets),
            "tls": None if self.tls is None else dataclasses.asdict(self.tls),
            "phases": [
                {"in_flight": phase.in_flight, "timeout_seconds": phase.timeout_seconds}
                for phase in self.phases
            ],
        }
        (folder / _SETTINGS_FILE).write_text(json.dumps(settings, default=str))
        arrays = {
            "content": np.frombuffer(b"".join(self.requests), np.uint8),
            "ends": np.cumsum([len(request) for request in self.requests]),
            "servers": np.asarray(self.servers),
        }
        for number, phase in enumerate(self.phases):
            arrays[f"due_{number}"] = phase.due
            arrays[f"requests_{number}"] = phase.requests
        np.savez(folder / _ARRAYS_FILE, **arrays)  # type: ignore[arg-type]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads what `write` wrote."""
        settings = json.loads((folder / _SETTINGS_FILE).read_text())
        tls = None if settings["tls"] is None else Tls(**settings["tls"])
        with np.load(folder / _ARRAYS_FILE, allow_pickle=False) as arrays:
            content = arrays["content"].tobytes()
            ends = arrays["ends"].tolist()
            phases = [
                Phase(arrays[f"due_{number}"], arrays[f"requests_{number}"], **phase)
                for number, phase in enumerate(settings["phases"])
            ]
            servers = arrays["servers"].tolist()
        starts = [0, *ends[:-1]]
        requests = [content[start:end] for start, end in zip(starts, ends, strict=True)]
        return cls(settings["targets"], requests, servers, phases, tls)
