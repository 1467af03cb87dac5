"""The REST port: an ASGI application behind a listening socket, in a thread of its own."""

from __future__ import annotations

import functools
import math
import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from configs.command_line import CommandError
from serving.server.network_address import address_of
from serving.server.rest_connections import Connection, ConnectionLimits
from serving.server.tls import TlsSettings

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
        limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008 (frozen)
    ):
        """Opens the port.

        Args:
          application: answers the requests.
          host: the address to listen on.
          port: 0 asks for a free one.
          tls: a certificate; None for plain HTTP.
          limits: numbers and times of connections.

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
                http=functools.partial(Connection, limits, set()),  # type: ignore[arg-type]
                ws="none",
                timeout_keep_alive=limits.keep_alive_seconds,  # type: ignore[arg-type]
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
