"""TensorFlow Serving's REST API, version 1, as an ASGI application around `PredictionApi`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging

import grpc
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serving.protocol.messages import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)
from serving.server import metrics
from serving.server.errors import RequestError, RequestTooLargeError, invalid, not_found
from serving.server.json_answers import (
    classifications,
    columns,
    message_as_json,
    predictions,
    regressions,
)
from serving.server.json_text import parse_object
from serving.server.prediction_api import SIGNATURE_FIELD, PredictionApi
from serving.server.request_bodies import BodyTooLargeError, read_body
from serving.server.rest_examples import examples_input
from serving.server.rest_paths import Target, is_api, target_of
from serving.server.rest_requests import predict_inputs, signature_name_in
from serving.server.servable import signature_name_of

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
_HTTP_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}
_OPERATIONS: dict[str, metrics.Operation] = {
    "predict": "Predict",
    "classify": "Classify",
    "regress": "Regress",
    "status": "",
    "metadata": "",
}

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RestApi:
    """Answers HTTP requests.

    As in TensorFlow Serving's default settings, no header allows pages of other origins to ask.

    Attributes:
      api: the operations.
      maximum_request_bytes: a larger body, also one that is larger once it is decompressed, is
        refused with status 413.
    """

    api: PredictionApi
    maximum_request_bytes: int

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route(metrics.METRICS_PATH, self._metrics, methods=["GET"]),
                Route("/{path:path}", self._handle, methods=_METHODS),
            ]
        )

    async def _metrics(self, request: Request) -> Response:
        return Response(metrics.metrics_text(), media_type=metrics.METRICS_CONTENT_TYPE)

    async def _handle(self, request: Request) -> Response:
        try:
            body = await read_body(request, self.maximum_request_bytes)
        except BodyTooLargeError:
            limit = self.maximum_request_bytes
            return _error_response(413, f"The request body is larger than {limit} bytes.")
        except ClientDisconnect:
            return Response(status_code=_HTTP_STATUS[grpc.StatusCode.CANCELLED])  # read by nobody
        except RequestError as error:
            return _error_response(_HTTP_STATUS[error.code], error.message)
        # Inference blocks, so it runs beside the event loop.
        try:
            return await run_in_threadpool(self._answer, request.method, _url(request), body)
        except asyncio.CancelledError:  # the time that a stop leaves is up
            return _error_response(503, "The server is stopping")

    def _answer(self, method: str, url: str, body: bytes) -> Response:
        try:
            if not is_api(url):
                raise not_found(f"No such path: {url}")
            target = target_of(method, url)
            operation = _OPERATIONS[target.operation]
            with metrics.counted_request(self.api.counted_name(target.model), operation, "REST"):
                document = self._document(target, body)
                text = json.dumps(document, ensure_ascii=False).encode()
        except RequestTooLargeError as error:
            return _error_response(413, error.message)
        except RequestError as error:
            return _error_response(_HTTP_STATUS.get(error.code, 500), error.message)
        except Exception as error:
            _log.exception("a REST request failed")
            return _error_response(500, f"Internal error: {type(error).__name__}: {error}")
        return Response(text, media_type="application/json")

    def _document(self, target: Target, body: bytes) -> dict[str, object]:
        model = target.model
        if target.operation == "status":
            status_request = get_model_status_pb2.GetModelStatusRequest(model_spec=model)
            return message_as_json(self.api.model_status(status_request))
        if target.operation == "metadata":
            return self._metadata(model)
        self.api.limits.check_json(body)
        document = parse_object(body)
        model.signature_name = signature_name_in(document)
        if target.operation == "predict":
            return self._predict(model, document)
        examples = examples_input(document)
        if target.operation == "classify":
            classification = classification_pb2.ClassificationRequest(
                model_spec=model, input=examples
            )
            return classifications(self.api.classify(classification).result)
        regression = regression_pb2.RegressionRequest(model_spec=model, input=examples)
        return regressions(self.api.regress(regression).result)

    def _metadata(self, model: model_pb2.ModelSpec) -> dict[str, object]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=model, metadata_field=[SIGNATURE_FIELD]
        )
        response = self.api.model_metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_FIELD].Unpack(signatures)
        return {
            "model_spec": message_as_json(response.model_spec),
            "metadata": {SIGNATURE_FIELD: message_as_json(signatures)},
        }

    def _predict(
        self, model: model_pb2.ModelSpec, document: dict[str, object]
    ) -> dict[str, object]:
        servable = self.api.models.find(model)
        signature_name = signature_name_of(model)
        if not servable.has_signature(signature_name):
            raise invalid(f'Serving signature name: "{signature_name}" not found in signature def')
        expected = servable.input_specifications(signature_name)
        if not expected:
            raise invalid(
                f"Failed to get input map for signature: {model.signature_name or 'DEFAULT'}"
            )
        inputs, row_format = predict_inputs(document, expected)
        self.api.limits.check_arrays(inputs)
        outputs = servable.run(signature_name, inputs)
        return predictions(outputs) if row_format else columns(outputs)


def _url(request: Request) -> str:
    """Path and query as they were sent."""
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _error_response(status: int, message: str) -> Response:
    text = json.dumps({"error": message})
    return Response(text, status_code=status, media_type="application/json")
