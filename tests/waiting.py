"""Waits for what other threads bring about."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_SECONDS = 120.0
"""After so long what was waited for will never come; no machine is so slow, or stands so long."""

NEVER_SECONDS = 10 * LONGEST_SECONDS
"""Longer than any test: what is to be late, or to last until a test ends it, takes this long."""

_PAUSE_SECONDS = 0.005


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; an assertion fails when it never does."""
    end = time.monotonic() + LONGEST_SECONDS
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(_PAUSE_SECONDS)
