"""A thread that does something again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Polling:
    """Calls an action with a pause before each call, until it is stopped."""

    def __init__(self, name: str, action: Callable[[], None], pause_seconds: float):
        self._action = action
        self._pause_seconds = pause_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when a call under way has ended."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._pause_seconds):
            try:
                self._action()
            except Exception:  # the next call may find things in order again
                _log.exception("%s failed", self._thread.name)
