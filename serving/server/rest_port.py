"""The REST port: an ASGI application behind a socket, with TLS, in a thread of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import json
import math
import socket
import ssl
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from serving.options import ServerOptions
from serving.protocol.server_files_pb2 import SSLConfig
from serving.server.server_files import read_text_message


def address_of(host: str, port: int) -> str:
    """HOST:PORT; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclasses.dataclass(frozen=True)
class TlsSettings:
    """tensorflow.serving.SSLConfig: PEM texts, not paths. The key is left out of `repr`.

    Attributes:
      server_key: private key.
      server_cert: certificate, with the chain below the authority.
      custom_ca: authority of the clients' certificates.
      client_verify: whether clients must show a certificate of that authority.
    """

    server_key: str = dataclasses.field(repr=False)
    server_cert: str
    custom_ca: str = ""
    client_verify: bool = False

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Credentials for a gRPC port."""
        return grpc.ssl_server_credentials(
            [(self.server_key.encode(), self.server_cert.encode())],
            root_certificates=self.custom_ca.encode() or None,
            require_client_auth=self.client_verify,
        )

    def context(self) -> ssl.SSLContext:
        """A context for a REST port.

        Raises:
          ConfigurationError: the key does not fit the certificate, or a text is no PEM.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # The standard library reads keys only from files; the folder is this user's alone.
            with tempfile.TemporaryDirectory() as folder:
                key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
                key.write_text(self.server_key, encoding="ascii")
                certificate.write_text(self.server_cert, encoding="ascii")
                # An encrypted key would ask for its password on the terminal.
                context.load_cert_chain(certificate, key, password=_refuse_password)
            if self.custom_ca:
                context.load_verify_locations(cadata=self.custom_ca)
        except (ssl.SSLError, ValueError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else "not plain PEM"
            raise ConfigurationError(
                "server_key, server_cert and custom_ca must be PEM texts, and the key that of the "
                f"certificate, without a password ({reason})"
            ) from None
        if self.client_verify:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def read_tls_settings(path: str | Path) -> TlsSettings:
    """Reads a file as `tensorflow_model_server --ssl_config_file` does, and checks it.

    Raises:
      ConfigurationError: the file cannot be read, or is incomplete or wrong. No message quotes it.
    """
    message = read_text_message(path, SSLConfig)
    values = {field.name: value for field, value in message.ListFields()}
    for name in ("server_key", "server_cert"):
        if not values.get(name):
            raise ConfigurationError(f"{path}: {name} is missing: the text of a PEM file")
    if values.get("client_verify") and not values.get("custom_ca"):
        raise ConfigurationError(f"{path}: client_verify needs custom_ca, the clients' authority")
    settings = TlsSettings(**values)
    try:
        settings.context()
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return settings


def _refuse_password() -> str:
    raise ValueError("the key has a password")


class _Phase(enum.Enum):
    """What a connection waits for."""

    IDLE = "the next request"
    HEADER = "the end of a request's header"
    BODY = "the end of its body"
    ANSWER = "this server"


class RestConnection(H11Protocol):
    """A connection with times for what it waits for, among others that it makes room for."""

    def __init__(
        self,
        options: ServerOptions,
        others: set[RestConnection],
        **uvicorn_arguments: Any,
    ):
        """Prepares a connection.

        Args:
          options: numbers and times.
          others: all open connections of the port, which it joins.
          **uvicorn_arguments: as uvicorn gives them.
        """
        super().__init__(**uvicorn_arguments)
        self._options = options
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
            (siblings, self._options.max_rest_connections_per_peer),
            (self._open, self._options.max_rest_connections),
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
            _Phase.HEADER: self._options.rest_header_seconds,
            _Phase.BODY: self._options.rest_body_seconds,
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
            seconds = self._options.rest_body_seconds
            self._stalled = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._stalled):
            if timer is not None:
                timer.cancel()
        self._timer = self._stalled = None


def _close_one(connections: set[RestConnection] | list[RestConnection]) -> bool:
    """Closes the connection with the least right to stay; says whether there is one to close."""
    waiting = sorted(connections, key=lambda one: one.waiting)
    return any(connection.make_room() for connection in waiting)


_POLL_SECONDS = 0.01


class RestPort:
    """An open port; requests are answered from the construction on.

    Attributes:
      port: the actual port.
    """

    def __init__(
        self,
        application: ASGIApp,
        host: str,
        port: int,
        tls: TlsSettings | None = None,
        options: ServerOptions = ServerOptions(),  # noqa: B008 (frozen)
    ):
        """Opens the port.

        Args:
          application: answers the requests.
          host: the address to listen on.
          port: 0 asks for a free one.
          tls: a certificate; None for plain HTTP.
          options: numbers and times of connections.

        Raises:
          CommandError: the port cannot be opened.
        """
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family)
        except OSError as error:
            raise CommandError(
                f"the REST port {address_of(host, port)} cannot be opened ({error.strerror})"
            ) from error
        # Inherited by every connection; without it small answers wait 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = listener.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                log_config=None,
                log_level="warning",
                access_log=False,
                lifespan="off",
                # Called as a class is, and parts of a second do as well.
                http=functools.partial(RestConnection, options, set()),  # type: ignore[arg-type]
                ws="none",
                timeout_keep_alive=options.rest_keep_alive_seconds,  # type: ignore[arg-type]
                ssl_context_factory=None if tls is None else lambda *_: tls.context(),
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="rest", daemon=True
        )
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                listener.close()
                raise CommandError("the REST server stopped while it was starting")
            time.sleep(_POLL_SECONDS)

    def stop(self, grace_seconds: float) -> None:
        """Closes the port.

        Args:
          grace_seconds: how long requests under way may take; rounded up, at least one second.
        """
        self._server.config.timeout_graceful_shutdown = max(1, math.ceil(grace_seconds))
        self._server.should_exit = True
        self._thread.join()
