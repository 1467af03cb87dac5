"""Work beside the requests: what is done again and again, and what a stop does not wait for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

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
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
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


class Background:
    """Runs what requests wait for, such as a reload, in threads that no stop waits for."""

    def __init__(self) -> None:
        """Starts idle."""
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
            threading.Thread(target=call, name=name, daemon=True).start()
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
