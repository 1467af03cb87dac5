"""The gRPC services, thin adapters around `PredictionApi`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent import futures
from typing import NoReturn, TypeVar

import grpc

from serving.protocol.messages import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from serving.server.errors import RequestError
from serving.server.prediction_api import PredictionApi

# TensorFlow Serving cuts its messages at this length, because they travel in a header.
_MESSAGE_LIMIT = 1024
_WORKERS = 16

_log = logging.getLogger(__name__)
Request = TypeVar("Request")
Response = TypeVar("Response")


def create_grpc_server(api: PredictionApi, maximum_request_bytes: int) -> grpc.Server:
    """A gRPC server with TensorFlow Serving's two services; it still needs a port and a start."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="grpc"),
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
        return _answer(self._api.predict, request, context)

    def Classify(  # noqa: N802
        self, request: classification_pb2.ClassificationRequest, context: grpc.ServicerContext
    ) -> classification_pb2.ClassificationResponse:
        """Classifies tf.Examples."""
        return _answer(self._api.classify, request, context)

    def Regress(  # noqa: N802
        self, request: regression_pb2.RegressionRequest, context: grpc.ServicerContext
    ) -> regression_pb2.RegressionResponse:
        """Computes one number per tf.Example."""
        return _answer(self._api.regress, request, context)

    def MultiInference(  # noqa: N802
        self, request: inference_pb2.MultiInferenceRequest, context: grpc.ServicerContext
    ) -> inference_pb2.MultiInferenceResponse:
        """Runs several classifications and regressions at once."""
        return _answer(self._api.multi_inference, request, context)

    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Describes a model's signatures."""
        return _answer(self._api.model_metadata, request, context)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """tensorflow.serving.ModelService."""

    def __init__(self, api: PredictionApi):
        self._api = api

    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Says which versions of a model are available."""
        return _answer(self._api.model_status, request, context)

    def HandleReloadConfigRequest(  # noqa: N802
        self, request: model_management_pb2.ReloadConfigRequest, context: grpc.ServicerContext
    ) -> None:
        """Refuses: the models are fixed when the server starts."""
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            "This local server cannot change its models while it runs; start it again with other "
            "--model options.",
        )


def _answer(
    operation: Callable[[Request], Response], request: Request, context: grpc.ServicerContext
) -> Response:
    try:
        return operation(request)
    except RequestError as error:
        _abort(context, error.code, error.message)
    except Exception as error:
        _log.exception("a gRPC request failed")
        message = f"Internal error: {type(error).__name__}: {error}"
        _abort(context, grpc.StatusCode.INTERNAL, message)


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    context.abort(code, message[:_MESSAGE_LIMIT])
    raise AssertionError("abort always raises")
