"""The local server: its options, models, a gRPC port and a REST port, started and stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import grpc

from configs.command_line import CommandError
from serving.options import ServerOptions
from serving.server.background import Background, Polling
from serving.server.grpc_services import Health, RefusalWhileStopping, create_grpc_server
from serving.server.model_store import ModelStore, load_servable
from serving.server.prediction_api import PredictionApi
from serving.server.rest_app import RestApi
from serving.server.rest_port import RestPort, TlsSettings, address_of
from serving.server.servable import RequestLimits
from serving.server.server_files import ModelSettings, settings_of_base_paths, watch_models_config

# Callers that send one request after the other have learnt by then that the server stops.
_REFUSAL_SECONDS = 0.2
# The pause between looks for dropped versions whose last request has been answered.
_UNLOADING_SECONDS = 1.0


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
      options: limits, times and threads.
      tls: a certificate for both ports; None for plain connections.
    """

    def __init__(
        self,
        models: Mapping[str, str | Path] | Iterable[ModelSettings],
        grpc_port: int = 0,
        rest_port: int = 0,
        host: str = "127.0.0.1",
        options: ServerOptions = ServerOptions(),  # noqa: B008 (frozen)
        tls: TlsSettings | None = None,
    ):
        self.models = (
            settings_of_base_paths(models) if isinstance(models, Mapping) else list(models)
        )
        self.grpc_port = grpc_port
        self.rest_port = rest_port
        self.host = host
        self.options = options
        self.tls = tls
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

    def __exit__(self, *_: object) -> None:
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
        limits = RequestLimits(options.max_request_rows, options.max_request_input_bytes)
        api = PredictionApi(store, self._background, limits)
        self._rest = RestPort(
            RestApi(api, options.max_rest_request_bytes).application(),
            self.host,
            self.rest_port,
            self.tls,
            options,
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
            api,
            options.max_grpc_request_bytes,
            options.grpc_threads,
            options.max_grpc_requests,
            [self._refusal],
        )
        health.add_to(server)
        address = address_of(self.host, self.grpc_port)
        try:
            if self.tls is None:
                self.grpc_port = server.add_insecure_port(address)
            else:
                self.grpc_port = server.add_secure_port(address, self.tls.grpc_credentials())
        except RuntimeError as error:
            raise CommandError(
                f"the gRPC port {address} cannot be opened (is it in use?)"
            ) from error
        server.start()
        self._grpc_server = server
