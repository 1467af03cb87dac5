"""Ctrl-C as a request to stop, not as an exception in the middle of something."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from configs.command_line import say

STOP_GRACE_SECONDS = 10.0
"""How long calls of an endpoint that are in flight may still take when the run is stopped."""


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one interrupts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    usual = signal.getsignal(signal.SIGINT)

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, usual)
        say(
            f"\nstopping: waiting for the calls in flight, {STOP_GRACE_SECONDS:g} s at most for "
            "those of an endpoint; killing the process loses nothing that was answered either"
        )

    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, usual)
