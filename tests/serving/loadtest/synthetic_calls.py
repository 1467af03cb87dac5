"""Calls for tests that need no server."""

from __future__ import annotations

import numpy as np

from serving.loadtest.generator import Calls


def calls_of(
    due: list[float],
    sent: list[float],
    finished: list[float],
    codes: list[int] | None = None,
    versions: list[int] | None = None,
    held: list[bool] | None = None,
    loop_lags: tuple[float, ...] = (0.0,),
    processor_seconds: float = 0.1,
    wall_seconds: float = 10.0,
) -> Calls:
    count = len(due)
    return Calls(
        started=1_800_000_000.0,
        requests=np.arange(count),
        due=np.array(due),
        sent=np.array(sent),
        finished=np.array(finished),
        codes=np.array(codes or [0] * count),
        versions=np.array(versions or [1] * count),
        held=np.array(held or [False] * count, bool),
        loop_lags=np.array(loop_lags),
        processor_seconds=processor_seconds,
        wall_seconds=wall_seconds,
    )
