"""The local server: models, a gRPC port and a REST port, started and stopped together."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
import uvicorn

from configs.command_line import CommandError
from serving.server.grpc_services import create_grpc_server
from serving.server.model_store import ModelStore
from serving.server.prediction_api import PredictionApi
from serving.server.rest_app import RestApi

DEFAULT_MAXIMUM_REQUEST_BYTES = 64 * 2**20
_POLL_SECONDS = 0.01


class LocalServer:
    """A server with TensorFlow Serving's API for laptops and tests.

    Production runs the official tensorflow/serving image on the same folders. The ports open only
    after every model is loaded.

        with LocalServer({"movies": "out/export"}) as server:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")

    Attributes:
      models: model name -> folder of version folders.
      grpc_port: the requested port; once started the actual one (0 asks for a free one).
      rest_port: likewise.
      host: the address to listen on.
      maximum_request_bytes: larger requests are refused.
      versions: model name -> version that is served; empty before the start.
    """

    def __init__(
        self,
        models: Mapping[str, str | Path],
        grpc_port: int = 0,
        rest_port: int = 0,
        host: str = "127.0.0.1",
        maximum_request_bytes: int = DEFAULT_MAXIMUM_REQUEST_BYTES,
    ):
        self.models = dict(models)
        self.grpc_port = grpc_port
        self.rest_port = rest_port
        self.host = host
        self.maximum_request_bytes = maximum_request_bytes
        self.versions: dict[str, int] = {}
        self._grpc_server: grpc.Server | None = None
        self._rest_server: uvicorn.Server | None = None
        self._rest_thread: threading.Thread | None = None

    def start(self) -> None:
        """Loads the models and opens both ports.

        Raises:
          CommandError: a model has no loadable version, or a port cannot be opened.
        """
        store = ModelStore.load(self.models)
        api = PredictionApi(store)
        self._start_grpc(api)
        try:
            self._start_rest(api)
        except BaseException:
            self.stop(grace_seconds=0)
            raise
        self.versions = store.versions

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Closes the ports; requests under way get `grace_seconds` to finish."""
        if self._rest_server is not None and self._rest_thread is not None:
            self._rest_server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
            self._rest_server.should_exit = True
            self._rest_thread.join()
            self._rest_server = self._rest_thread = None
        if self._grpc_server is not None:
            self._grpc_server.stop(grace_seconds).wait()
            self._grpc_server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_grpc(self, api: PredictionApi) -> None:
        server = create_grpc_server(api, self.maximum_request_bytes)
        try:
            self.grpc_port = server.add_insecure_port(f"{self.host}:{self.grpc_port}")
        except RuntimeError as error:
            raise _port_error("gRPC", self.host, self.grpc_port, "is it in use?") from error
        server.start()
        self._grpc_server = server

    def _start_rest(self, api: PredictionApi) -> None:
        try:
            listener = socket.create_server((self.host, self.rest_port))
        except OSError as error:
            raise _port_error("REST", self.host, self.rest_port, str(error.strerror)) from error
        # Inherited by every connection; without it small answers wait 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest_port = listener.getsockname()[1]
        config = uvicorn.Config(
            RestApi(api, self.maximum_request_bytes).application(),
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="rest", daemon=True
        )
        thread.start()
        self._rest_server, self._rest_thread = server, thread
        while not server.started:
            if not thread.is_alive():
                raise CommandError("the REST server stopped while it was starting")
            time.sleep(_POLL_SECONDS)


def _port_error(kind: str, host: str, port: int, reason: str) -> CommandError:
    return CommandError(f"the {kind} port {host}:{port} cannot be opened ({reason})")
