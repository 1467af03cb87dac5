"""The gRPC services, health among them, thin adapters around `PredictionApi`."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from contextlib import AbstractContextManager
from typing import NoReturn, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serving.protocol.messages import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from serving.server.errors import RequestError
from serving.server.metrics import Operation, counted_request
from serving.server.prediction_api import PredictionApi

_SERVICES = (
    "",  # the server as a whole
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name,
    model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
)


class Health:
    """SERVING while every model has a version available and the server is not stopping."""

    def __init__(self) -> None:
        self._servicer = health.HealthServicer()
        self.set_ready(False)

    def add_to(self, server: grpc.Server) -> None:
        """Adds the service to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def set_ready(self, is_ready: bool) -> None:
        """Reports whether every model can be asked."""
        status = health_pb2.HealthCheckResponse
        for service in _SERVICES:
            self._servicer.set(service, status.SERVING if is_ready else status.NOT_SERVING)

    def stop(self) -> None:
        """Reports NOT_SERVING for good."""
        self._servicer.enter_graceful_shutdown()


_HEALTH = "/grpc.health.v1.Health/"


class RefusalWhileStopping(grpc.ServerInterceptor):
    """Answers UNAVAILABLE once the server is about to stop; health is still told.

    A gRPC server that stops cancels some of the requests that arrive at this moment, and callers
    rarely repeat what was CANCELLED. None of these has run, so UNAVAILABLE is the answer to give.
    """

    def __init__(self) -> None:
        self._is_stopping = threading.Event()
        self._refusal = grpc.unary_unary_rpc_method_handler(_refuse)

    def begin(self) -> None:
        """Refuses from now on."""
        self._is_stopping.set()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Passes a request on, or to the refusal."""
        if self._is_stopping.is_set() and not handler_call_details.method.startswith(_HEALTH):
            return self._refusal
        return continuation(handler_call_details)


def _refuse(request: object, context: grpc.ServicerContext) -> NoReturn:
    context.abort(grpc.StatusCode.UNAVAILABLE, "The server is stopping")
    raise AssertionError("abort always raises")


# TensorFlow Serving cuts its messages at this length, because they travel in a header.
_MESSAGE_LIMIT = 1024
_UNCOUNTED: AbstractContextManager[None] = contextlib.nullcontext()

_log = logging.getLogger(__name__)
Request = TypeVar("Request")
Response = TypeVar("Response")


def create_grpc_server(
    api: PredictionApi,
    maximum_request_bytes: int,
    threads: int = 16,
    maximum_requests: int | None = None,
    interceptors: Sequence[grpc.ServerInterceptor] = (),
) -> grpc.Server:
    """A gRPC server with TensorFlow Serving's two services; it still needs a port and a start.

    Args:
      api: answers the requests.
      maximum_request_bytes: larger requests are refused with RESOURCE_EXHAUSTED.
      threads: requests that are answered at a time; more wait.
      maximum_requests: requests that are answered or wait, those of health among them; one more is
        refused with RESOURCE_EXHAUSTED. None for any number.
      interceptors: see every request first.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=threads, thread_name_prefix="grpc"),
        interceptors=interceptors,
        maximum_concurrent_rpcs=maximum_requests,
        options=[
            ("grpc.max_receive_message_length", maximum_request_bytes),
            ("grpc.max_send_message_length", -1),
            # Without this a second server on the same port would silently take half of the
            # requests.
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(api), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(api), server)
    return server


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """tensorflow.serving.PredictionService."""

    def __init__(self, api: PredictionApi):
        self._api = api

    def Predict(  # noqa: N802
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        """Runs a signature on tensors."""
        counting = self._counting(request.model_spec, "Predict", context)
        return _respond(self._api.predict, request, context, counting)

    def Classify(  # noqa: N802
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Classifies tf.Examples."""
        counting = self._counting(request.model_spec, "Classify", context)
        return _respond(self._api.classify, request, context, counting)

    def Regress(  # noqa: N802
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        """Computes one number per tf.Example."""
        counting = self._counting(request.model_spec, "Regress", context)
        return _respond(self._api.regress, request, context, counting)

    def MultiInference(  # noqa: N802
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        """Runs several classifications and regressions at once."""
        first = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        counting = self._counting(first, "MultiInference", context)
        return _respond(self._api.multi_inference, request, context, counting)

    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Describes a model's signatures."""
        return _respond(self._api.model_metadata, request, context)

    def _counting(
        self,
        specification: model_pb2.ModelSpec,
        operation: Operation,
        context: grpc.ServicerContext,
    ) -> AbstractContextManager[None]:
        name = self._api.counted_name(specification)
        return counted_request(name, operation, "GRPC", context.invocation_metadata())


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """tensorflow.serving.ModelService."""

    def __init__(self, api: PredictionApi):
        self._api = api

    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Says in which state the versions of a model are."""
        return _respond(self._api.model_status, request, context)

    def HandleReloadConfigRequest(  # noqa: N802
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> model_management_pb2.ReloadConfigResponse:
        """Replaces models, version policies and labels."""
        return _respond(self._api.reload_config, request, context)


def _respond(
    operation: Callable[[Request], Response],
    request: Request,
    context: grpc.ServicerContext,
    counting: AbstractContextManager[None] = _UNCOUNTED,
) -> Response:
    try:
        with counting:
            return operation(request)
    except RequestError as error:
        _abort(context, error.code, error.message)
    except Exception as error:
        _log.exception("a gRPC request failed")
        message = f"Internal error: {type(error).__name__}: {error}"
        _abort(context, grpc.StatusCode.INTERNAL, message)


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    if len(message) > _MESSAGE_LIMIT:
        message = f"{message[:_MESSAGE_LIMIT]}...TRUNCATED"
    context.abort(code, message)
    raise AssertionError("abort always raises")
