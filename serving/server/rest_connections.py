"""Connections of the REST port, none of which holds others up by being slow."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol


@dataclasses.dataclass(frozen=True)
class ConnectionLimits:
    """How many connections may be open, and how long they may take.

    Attributes:
      connections: open at a time. Where one more comes, the one that has waited longest for its
        caller is closed for it; if all of them are being answered, it is refused with status 503.
      connections_per_peer: the same for those from one address.
      header_seconds: from the first byte of a request, or from the beginning of a connection, to
        the end of the request's header.
      body_seconds: from there to the end of the body; also how long an answer may lie unread.
      keep_alive_seconds: how long a connection may be without a request after an answer.
    """

    connections: int = 512
    connections_per_peer: int = 256
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    keep_alive_seconds: float = 5.0


class _Phase(enum.Enum):
    """What a connection waits for."""

    IDLE = "the next request"
    HEADER = "the end of a request's header"
    BODY = "the end of its body"
    ANSWER = "this server"


class Connection(H11Protocol):
    """A connection with times for what it waits for, among others that it makes room for."""

    def __init__(
        self,
        limits: ConnectionLimits,
        others: set[Connection],
        **uvicorn_arguments: Any,
    ):
        """Prepares a connection.

        Args:
          limits: numbers and times.
          others: all open connections of the port, which it joins.
          **uvicorn_arguments: as uvicorn gives them.
        """
        super().__init__(**uvicorn_arguments)
        self._limits = limits
        self._open = others
        self._phase = _Phase.HEADER
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str | None:
        """The address at the other end."""
        return self.client[0] if self.client else None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Makes room, or arranges that the connection's requests are refused."""
        super().connection_made(transport)
        siblings = [other for other in self._open if other.peer == self.peer]
        has_room = True
        for others, most in (
            (siblings, self._limits.connections_per_peer),
            (self._open, self._limits.connections),
        ):
            if len(others) >= most:
                has_room = has_room and _close_one(others)
        if not has_room:
            self.limit_concurrency = 0
        self._open.add(self)
        self._enter(_Phase.HEADER)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leaves the others."""
        self._open.discard(self)
        self._stop_timers()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Notices what the connection waits for now."""
        super().handle_events()
        phase = self._phase_now()
        if phase is not self._phase:
            self._enter(phase)

    def on_response_complete(self) -> None:
        """Notices that the connection waits for its caller again."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._enter(self._phase_now())

    def shutdown(self) -> None:
        """Lets a complete request be answered, and refuses one that is not, as the server stops."""
        if self._phase is _Phase.BODY:
            self._refuse(503, "The server is stopping")
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Gives the caller time to read its answer."""
        super().pause_writing()
        self._give_up_later()

    def resume_writing(self) -> None:
        """Goes on with the answer."""
        super().resume_writing()
        if self._stalled is not None and not self.transport.is_closing():
            self._stalled.cancel()
            self._stalled = None

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection without a request."""
        super().timeout_keep_alive_handler()
        self._give_up_later()

    def make_room(self) -> bool:
        """Closes the connection if it waits for its caller; says whether."""
        if self._phase is _Phase.ANSWER:
            return False
        self._refuse(408, "The connection was closed to make room for others")
        return True

    @property
    def waiting(self) -> tuple[bool, float]:
        """Grows with the right to stay.

        Those that have sent nothing or part of a header go first, of these the oldest.
        """
        return self._phase is _Phase.BODY, self._since

    def _phase_now(self) -> _Phase:
        if self.conn.their_state is h11.SEND_BODY:
            return _Phase.BODY
        if self.conn.their_state is not h11.IDLE:
            return _Phase.ANSWER
        has_begun = self.cycle is None or bool(self.conn.trailing_data[0])
        return _Phase.HEADER if has_begun else _Phase.IDLE

    def _enter(self, phase: _Phase) -> None:
        self._phase, self._since = phase, self.loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        seconds = {
            _Phase.HEADER: self._limits.header_seconds,
            _Phase.BODY: self._limits.body_seconds,
        }.get(phase)  # the base class has a timer of its own for idle connections
        if seconds is not None:
            message = f"{phase.value.capitalize()} did not come within {seconds:g} seconds"
            self._timer = self.loop.call_later(seconds, self._refuse, 408, message)

    def _refuse(self, status: int, message: str) -> None:
        """Says why, where a request has begun and has no answer yet, and closes the connection."""
        self._open.discard(self)
        self._stop_timers()
        if self.transport.is_closing():
            return
        has_begun = self._phase is _Phase.BODY or bool(self.conn.trailing_data[0])
        has_answer = self.cycle is not None and self.cycle.response_started
        if has_begun and not (self._phase is _Phase.BODY and has_answer):
            content = json.dumps({"error": message}).encode()
            self.transport.write(
                b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                b"Connection: close\r\n\r\n%s"
                % (status, STATUS_PHRASES[status], len(content), content)
            )
        if self.cycle is not None and not self.cycle.response_complete:
            # The application reads the end of the body, as if the caller had gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self._give_up_later()

    def _give_up_later(self) -> None:
        """Drops the connection if its caller has not read what was sent by then."""
        if self._stalled is None:
            seconds = self._limits.body_seconds
            self._stalled = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        self._timer = self._stalled = None


def _close_one(connections: set[Connection] | list[Connection]) -> bool:
    """Closes the connection with the least right to stay; says whether there is one to close."""
    waiting = sorted(connections, key=lambda one: one.waiting)
    return any(connection.make_room() for connection in waiting)
