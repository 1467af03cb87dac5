"""Waits for what other threads bring about."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 60.0
_PAUSE_SECONDS = 0.005


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; an assertion fails when it never does."""
    end = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(_PAUSE_SECONDS)
