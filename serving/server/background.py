"""Work beside the requests: threads of low priority, and what is done again and again."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from pathlib import Path

import grpc

from serving.server.errors import RequestError

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


# A tenth of a processor where requests want all of them, and a whole one where they do not.
_NICENESS = 10
_LEAST_PRIORITY = 19


class BackgroundThread(threading.Thread):
    """A thread that gives way to those that answer requests; a program ends without its end."""

    def __init__(self, name: str, target: Callable[[], object]):
        super().__init__(name=name, target=target, daemon=True)

    def run(self) -> None:
        """Lowers the priority, and calls the target."""
        own = threading.get_native_id()
        with suppress(OSError):  # where priorities are none of a program's business
            priority = os.getpriority(os.PRIO_PROCESS, own)
            os.setpriority(os.PRIO_PROCESS, own, min(priority + _NICENESS, _LEAST_PRIORITY))
        super().run()


class Background:
    """Runs what requests ask for and wait for, such as loading a model, in background threads."""

    def __init__(self) -> None:
        """Starts with nothing to do."""
        self._waiting: set[Future[None]] = set()
        self._is_stopped = False
        self._lock = threading.Lock()

    def run(self, name: str, action: Callable[[], None]) -> None:
        """Calls an action, and waits for its end.

        Args:
          name: of the thread.
          action: what to do.

        Raises:
          RequestError: UNAVAILABLE; `stop` was called before, or meanwhile (the action goes on).
          Exception: what the action raises.
        """
        ended: Future[None] = Future()

        def call() -> None:
            with suppress(InvalidStateError):  # nobody waits any more
                try:
                    action()
                except BaseException as error:
                    ended.set_exception(error)
                else:
                    ended.set_result(None)

        with self._lock:
            if self._is_stopped:
                raise _refusal()
            self._waiting.add(ended)
        try:
            BackgroundThread(name, call).start()
            ended.result()
        finally:
            with self._lock:
                self._waiting.discard(ended)

    def stop(self) -> None:
        """Lets go of those who wait, and of whoever comes later."""
        with self._lock:
            self._is_stopped = True
            waiting = list(self._waiting)
        for ended in waiting:
            with suppress(InvalidStateError):  # it has just ended
                ended.set_exception(_refusal())


def _refusal() -> RequestError:
    return RequestError(grpc.StatusCode.UNAVAILABLE, "The server is stopping")


Fingerprint = frozenset[tuple[str, int, int]]


def fingerprint(folder: Path) -> Fingerprint:
    """Path, time of change (ns) and size of every file below a folder, as far as it can be read."""
    found = set()
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except OSError:  # deleted meanwhile
            continue
        found.add((str(path.relative_to(folder)), status.st_mtime_ns, status.st_size))
    return frozenset(found)
