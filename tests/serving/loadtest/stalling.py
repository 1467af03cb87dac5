"""A gRPC server that answers one request at a time and stalls when a test tells it to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures

import grpc
import numpy as np
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.protocol.tensors import pack


class Stalling(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers every request of a queue in turn.

    Attributes:
      stalls: number of the request, in order of arrival -> seconds until it is answered, or less
        if it is cancelled.
      failures: number of the request -> code instead of an answer.
      arrived: number of requests so far.
      requests: as they came.
    """

    def __init__(
        self,
        stalls: Mapping[int, float] | None = None,
        failures: Mapping[int, grpc.StatusCode] | None = None,
    ) -> None:
        self.stalls = stalls or {}
        self.failures = failures or {}
        self.arrived = 0
        self.requests: list[predict_pb2.PredictRequest] = []

    def Predict(self, request, context):  # noqa: N802
        number = self.arrived
        self.arrived += 1
        self.requests.append(request)
        cancelled = threading.Event()
        if context.add_callback(cancelled.set):
            cancelled.wait(self.stalls.get(number, 0.0))
        if number in self.failures:
            context.abort(self.failures[number], "by design")
        response = predict_pb2.PredictResponse()
        response.model_spec.version.value = 5
        response.outputs["score"].CopyFrom(pack(np.float32([0.5])))
        return response


@contextlib.contextmanager
def serving(service: Stalling, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    """`host:port` of a server with one worker, which stops with the block."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    if credentials is None:
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        target = f"localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    server.start()
    try:
        yield target
    finally:
        server.stop(0).wait()
