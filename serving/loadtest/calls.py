"""What became of the requests of a phase."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

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
