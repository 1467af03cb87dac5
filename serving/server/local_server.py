"""The local server: its options, models, a gRPC port and a REST port, started and stopped."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from configs.command_line import CommandError
from serving.server.background import Background, Polling
from serving.server.grpc_services import Health, RefusalWhileStopping, create_grpc_server
from serving.server.model_settings import ModelSettings, settings_of_base_paths
from serving.server.model_store import ModelStore
from serving.server.model_versions import load_servable
from serving.server.prediction_api import PredictionApi
from serving.server.rest_app import RestApi
from serving.server.rest_port import ConnectionLimits, RestPort, TlsSettings, address_of
from serving.server.servable import RequestLimits
from serving.server.server_files import watch_models_config

_MAXIMUM_REQUEST_BYTES = 64 * 2**20
# Callers that send one request after the other have learnt by then that the server stops.
_REFUSAL_SECONDS = 0.2
# The pause between looks for dropped versions whose last request has been answered.
_UNLOADING_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How a local server works.

    Attributes:
      poll_seconds: pause between looks at the base paths; 0 looks only at the start.
      allow_version_labels_for_unavailable_models: whether a new label may name a version that is
        not available.
      tls: a certificate for both ports; None for plain connections.
      maximum_grpc_request_bytes: a larger request is refused with RESOURCE_EXHAUSTED.
      maximum_rest_request_bytes: a larger body is refused with 413.
      maximum_request_rows: see `RequestLimits.rows`; more are refused with RESOURCE_EXHAUSTED, 413.
      maximum_request_input_bytes: see `RequestLimits.input_bytes`; likewise.
      maximum_rest_connections: see `ConnectionLimits`, like the next four.
      maximum_rest_connections_per_peer: of one address.
      rest_header_seconds: for the header of a request.
      rest_body_seconds: for its body.
      rest_keep_alive_seconds: between an answer and the next request.
      grpc_threads: gRPC requests that are answered at a time.
      grace_seconds: how long requests under way may take when the server stops.
    """

    poll_seconds: float = 1.0
    allow_version_labels_for_unavailable_models: bool = False
    tls: TlsSettings | None = None
    maximum_grpc_request_bytes: int = _MAXIMUM_REQUEST_BYTES
    maximum_rest_request_bytes: int = _MAXIMUM_REQUEST_BYTES
    maximum_request_rows: int = RequestLimits.rows
    maximum_request_input_bytes: int = RequestLimits.input_bytes
    maximum_rest_connections: int = ConnectionLimits.connections
    maximum_rest_connections_per_peer: int = ConnectionLimits.connections_per_peer
    rest_header_seconds: float = ConnectionLimits.header_seconds
    rest_body_seconds: float = ConnectionLimits.body_seconds
    rest_keep_alive_seconds: float = ConnectionLimits.keep_alive_seconds
    grpc_threads: int = 16
    grace_seconds: float = 5.0


class LocalServer:
    """A server with TensorFlow Serving's API for laptops and tests.

    Production runs the official tensorflow/serving image on the same folders. The ports open only
    after every model is loaded; from then on new versions are loaded, and old ones dropped, while
    requests are answered.

        with LocalServer({"movies": "out/export"}) as server:
            channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")

    Attributes:
      models: what to serve.
      grpc_port: the requested port; once started the actual one (0 asks for a free one).
      rest_port: likewise.
      host: the address to listen on.
      options: everything else.
    """

    def __init__(
        self,
        models: Mapping[str, str | Path] | Iterable[ModelSettings],
        grpc_port: int = 0,
        rest_port: int = 0,
        host: str = "127.0.0.1",
        options: ServerOptions = ServerOptions(),  # noqa: B008 (frozen)
    ):
        self.models = (
            settings_of_base_paths(models) if isinstance(models, Mapping) else list(models)
        )
        self.grpc_port = grpc_port
        self.rest_port = rest_port
        self.host = host
        self.options = options
        self._refusal = RefusalWhileStopping()
        self._background = Background()
        self._store: ModelStore | None = None
        self._pollings: list[Polling] = []
        self._health: Health | None = None
        self._grpc_server: grpc.Server | None = None
        self._rest: RestPort | None = None

    @property
    def versions(self) -> dict[str, int]:
        """Model name -> the highest version available; empty before the start."""
        return self._store.versions if self._store is not None else {}

    def start(self) -> None:
        """Loads the models and opens both ports.

        Raises:
          CommandError: a model has no loadable version, or a port cannot be opened.
        """
        try:
            self._start()
        except BaseException:
            self.stop(grace_seconds=0)
            raise

    def stop(self, grace_seconds: float | None = None) -> None:
        """Reports NOT_SERVING, closes the ports, lets requests under way finish, and ends.

        A version that is being loaded may be ready within the same time; later its thread is left
        to itself, and whoever asked for it is answered UNAVAILABLE.

        Args:
          grace_seconds: how long requests under way may take, over REST at least a second; the
            option's value if None.
        """
        grace = self.options.grace_seconds if grace_seconds is None else grace_seconds
        end = time.monotonic() + grace
        if self._health is not None:
            self._health.stop()
        if self._grpc_server is not None and grace:
            self._refusal.begin()
            time.sleep(_REFUSAL_SECONDS)
        # Both ports refuse new requests before either waits for those under way.
        grpc_stopped = self._grpc_server.stop(grace) if self._grpc_server is not None else None
        if self._rest is not None:
            self._rest.stop(grace)
        if grpc_stopped is not None:
            grpc_stopped.wait(max(0.0, end - time.monotonic()))
        self._background.stop()
        if grpc_stopped is not None:
            grpc_stopped.wait()
        for polling in self._pollings:
            polling.stop(max(0.0, end - time.monotonic()))
        self._store = self._health = self._grpc_server = self._rest = None
        self._pollings = []

    def reload(self, models: Iterable[ModelSettings]) -> None:
        """Replaces models, policies and labels: see `ModelStore.reload`.

        Raises:
          RequestError: the models are refused, or one does not become available.
        """
        store = self._store  # which a stop may take away meanwhile
        if store is not None:
            store.reload(models)

    def watch_models_config(self, path: str | Path, pause_seconds: float) -> None:
        """Reloads the models from a models.config again and again, until the server stops.

        Args:
          path: the file.
          pause_seconds: between looks at it.
        """
        self._pollings.append(watch_models_config(path, self.reload, pause_seconds))

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

    def _start(self) -> None:
        options = self.options
        self._background = Background()
        self._health = health = Health()
        self._store = store = ModelStore(
            self.models,
            load_servable,
            options.allow_version_labels_for_unavailable_models,
            on_change=lambda: health.set_ready(store.is_ready),
        )
        store.start()
        limits = RequestLimits(options.maximum_request_rows, options.maximum_request_input_bytes)
        api = PredictionApi(store, self._background, limits)
        self._rest = RestPort(
            RestApi(api, options.maximum_rest_request_bytes).application(),
            self.host,
            self.rest_port,
            options.tls,
            ConnectionLimits(
                options.maximum_rest_connections,
                options.maximum_rest_connections_per_peer,
                options.rest_header_seconds,
                options.rest_body_seconds,
                options.rest_keep_alive_seconds,
            ),
        )
        self.rest_port = self._rest.port
        # After the other port, because this one tells the health of both.
        self._start_grpc(api, health)
        self._pollings.append(Polling("unloading", store.end_unloading, _UNLOADING_SECONDS))
        if options.poll_seconds > 0:
            self._pollings.append(Polling("versions", store.poll, options.poll_seconds))

    def _start_grpc(self, api: PredictionApi, health: Health) -> None:
        options = self.options
        self._refusal = RefusalWhileStopping()
        server = create_grpc_server(
            api, options.maximum_grpc_request_bytes, options.grpc_threads, [self._refusal]
        )
        health.add_to(server)
        address = address_of(self.host, self.grpc_port)
        try:
            if options.tls is None:
                self.grpc_port = server.add_insecure_port(address)
            else:
                self.grpc_port = server.add_secure_port(address, options.tls.grpc_credentials())
        except RuntimeError as error:
            raise CommandError(
                f"the gRPC port {address} cannot be opened (is it in use?)"
            ) from error
        server.start()
        self._grpc_server = server
