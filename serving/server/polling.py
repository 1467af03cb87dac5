"""A background thread that does something again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from serving.server.background import BackgroundThread

_log = logging.getLogger(__name__)


class Polling:
    """Calls an action with a pause before each call, until it is stopped.

    A call that fails is logged, once until the next one ends otherwise.
    """

    def __init__(self, name: str, action: Callable[[], None], pause_seconds: float):
        self._action = action
        self._pause_seconds = pause_seconds
        self._last_fault = ""
        self._stopped = threading.Event()
        self._thread = BackgroundThread(name, self._run)
        self._thread.start()

    def stop(self, timeout_seconds: float | None = None) -> None:
        """Calls the action no more.

        Args:
          timeout_seconds: how long to wait for the end of a call under way; None waits for it.
        """
        self._stopped.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while not self._stopped.wait(self._pause_seconds):
            fault = ""
            try:
                self._action()
            except Exception as error:  # the next call may find things in order again
                fault = f"{type(error).__name__}: {error}"
                if fault != self._last_fault:
                    _log.exception("%s failed", self._thread.name)
            self._last_fault = fault
