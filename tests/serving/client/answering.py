"""A gRPC server that answers as a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client import AsyncRankingClient, UserRequest

USER = UserRequest("7", ["11"], [4.0], 1.0, 4.0, 0.7)
STATES = get_model_status_pb2.ModelVersionStatus


class Answering(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with whatever tensors it was given.

    Attributes:
      outputs: of every answer.
      version: of every answer; none if 0.
      failures: codes of the next answers.
      details: what failures say.
      delays: seconds that the next answers take; an answer ends early when its call is cancelled.
      cancelled: number of calls that were.
      input_types: of the signature `rank` beside a string `user_id`.
      labels: label -> version, which metadata describe; any other label is refused.
      requests: as they came, without those for metadata.
      seconds_left: until the deadlines of all requests.
    """

    def __init__(self, outputs: dict[str, object] | None = None) -> None:
        self.outputs = outputs or {}
        self.version = 0
        self.failures: list[grpc.StatusCode] = []
        self.details = "by design"
        self.delays: list[float] = []
        self.cancelled = 0
        self.input_types: dict[str, int] = {}
        self.labels: dict[str, int] = {}
        self.requests: list[predict_pb2.PredictRequest] = []
        self.seconds_left: list[float] = []

    def GetModelMetadata(self, request, context):  # noqa: N802
        assert list(request.metadata_field) == ["signature_def"]
        self.seconds_left.append(context.time_remaining())
        signatures = get_model_metadata_pb2.SignatureDefMap()
        inputs = signatures.signature_def["rank"].inputs
        for name, data_type in {"user_id": types_pb2.DT_STRING, **self.input_types}.items():
            inputs[name].dtype = data_type
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        label = request.model_spec.version_label
        if label:
            if label not in self.labels:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no version has label {label}")
            response.model_spec.version.value = self.labels[label]
        response.metadata["signature_def"].Pack(signatures)
        return response

    def Predict(self, request, context):  # noqa: N802
        self.requests.append(request)
        self.seconds_left.append(context.time_remaining())
        ended = threading.Event()
        context.add_callback(ended.set)
        if ended.wait(_first_of(self.delays, 0.0)):
            self.cancelled += 1
        if code := _first_of(self.failures, None):
            context.abort(code, self.details)
        response = predict_pb2.PredictResponse()
        if self.version:
            response.model_spec.version.value = self.version
        for name, value in self.outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


def _first_of(collected: list[Any], otherwise: Any) -> Any:
    """Takes the first out, for one thread of several."""
    try:
        return collected.pop(0)
    except IndexError:
        return otherwise


class Statuses(model_service_pb2_grpc.ModelServiceServicer):
    """Says the next of some states of version 1, the last again and again; whatever the label."""

    def __init__(self, *states: int) -> None:
        self.states = list(states)

    def GetModelStatus(self, request, context):  # noqa: N802
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=[{"version": 1, "state": state}]
        )


@contextlib.contextmanager
def answering(
    service: Answering,
    statuses: Statuses | None = None,
    credentials: grpc.ServerCredentials | None = None,
    port: int = 0,
) -> Iterator[int]:
    """The port of a server that stops with the block."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        statuses or Statuses(STATES.LOADING), server
    )
    address = f"127.0.0.1:{port}"
    if credentials is None:
        port = server.add_insecure_port(address)
    else:
        port = server.add_secure_port(address, credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


class RestAnswering(ThreadingHTTPServer):
    """Answers with the statuses and bodies it was given, the last one again and again.

    Attributes:
      answers: statuses and bodies.
      requests: paths and documents as they came.
      connections: addresses of the clients' ends.
      delay_seconds: until an answer begins; none comes of a server that stops meanwhile.
      byte_seconds: between the bytes of an answer, which otherwise comes at once.
      broken_off: so many of the next answers end in the middle.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _RestHandler)
        self.answers: list[tuple[int, str]] = [(200, '{"outputs": [0.5]}')]
        self.requests: list[tuple[str, dict]] = []
        self.connections: set[object] = set()
        self.delay_seconds = 0.0
        self.stopping = threading.Event()
        self.byte_seconds = 0.0
        self.broken_off = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of clients that are gone, which another test might take for its own."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _RestHandler(BaseHTTPRequestHandler):
    server: RestAnswering
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["content-length"]))
        self._answer(json.loads(body))

    def do_GET(self) -> None:  # noqa: N802
        self._answer({})

    def _answer(self, document: dict) -> None:
        self.server.requests.append((self.path, document))
        self.server.connections.add(self.client_address)
        if self.server.stopping.wait(self.server.delay_seconds):
            self.close_connection = True
            return
        answers = self.server.answers
        status, text = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.server.broken_off:
            self.server.broken_off -= 1
            self.wfile.write(text.encode()[: len(text) // 2])
            self.close_connection = True
        elif self.server.byte_seconds:
            for byte in text.encode():
                self.wfile.write(bytes([byte]))
                time.sleep(self.server.byte_seconds)
        else:
            self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def answering_over_rest(
    port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[RestAnswering]:
    """An HTTP server that stops with the block."""
    server = RestAnswering(port)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()


class Blocking:
    """The client for event loops, asked from outside of its loop as the other ones are."""

    def __init__(self, *arguments: Any, **options: Any):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def make() -> AsyncRankingClient:
            return AsyncRankingClient(*arguments, **options)

        self._client = self._run(make())

    def _run(self, question: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(question, self._loop).result()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._run(method(*arguments, **options))

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class HastyClock:
    """For `serving.client.retries`, in the place of `time`: every look at it takes 200 seconds.

    A bound of minutes is over after a few attempts, each of which has all the time that a slow
    machine needs.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 200.0
        return self._now

    def sleep(self, seconds: float) -> None:
        """Waits for nothing."""


READY_SECONDS = 700.0
"""In which a `HastyClock` leaves time for two attempts, with 500 and 100 seconds left."""


class Meanwhile:
    """For `serving.client.retries`, in the place of `time`: the second wait brings something."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.waits = 0
        self._act = act

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        self.waits += 1
        if self.waits == 2:
            self._act()
        time.sleep(seconds)
