"""TensorFlow Serving's REST API, version 1, as an ASGI application around `PredictionApi`."""

from __future__ import annotations

import dataclasses
import json
import logging
import re

import grpc
import numpy as np
from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.protocol.messages import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)
from serving.server.errors import RequestError, invalid, not_found
from serving.server.json_values import from_array
from serving.server.prediction_api import PredictionApi, signature_name_of
from serving.server.rest_requests import (
    examples_input,
    parse_body,
    predict_inputs,
    signature_name_in,
)

_MODEL = (
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d{1,18})|/labels/(?P<label>[^/:]+))?"
)
_GET_PATH = re.compile(_MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)
_POST_PATH = re.compile(_MODEL + r":(?P<verb>predict|classify|regress)", re.IGNORECASE)
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}

_log = logging.getLogger(__name__)


class _BodyTooLarge(Exception):
    """The request's body is larger than the server takes."""


@dataclasses.dataclass(frozen=True)
class RestApi:
    """Answers HTTP requests.

    Attributes:
      api: the operations.
      maximum_request_bytes: a larger body is refused with status 413.
    """

    api: PredictionApi
    maximum_request_bytes: int

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(routes=[Route("/{path:path}", self._handle, methods=_METHODS)])

    async def _handle(self, request: Request) -> Response:
        try:
            body = await _read_body(request, self.maximum_request_bytes)
        except _BodyTooLarge:
            limit = self.maximum_request_bytes
            return _json_response(413, _error(f"The request body is larger than {limit} bytes."))
        # Inference blocks, so it runs beside the event loop.
        return await run_in_threadpool(self._answer, request.method, request.scope["path"], body)

    def _answer(self, method: str, path: str, body: bytes) -> Response:
        try:
            if not path.lower().startswith("/v1/"):
                raise not_found(f"No such path: {path}")
            if method == "POST":
                document = self._post(path, body)
            elif method in ("GET", "HEAD"):
                document = self._get(path)
            else:
                raise invalid(f"Malformed request: {method} {path}")
            return _json_response(200, document)
        except RequestError as error:
            return _json_response(_HTTP_STATUS.get(error.code, 500), _error(error.message))
        except Exception as error:
            _log.exception("a REST request failed")
            return _json_response(500, _error(f"Internal error: {type(error).__name__}: {error}"))

    def _get(self, path: str) -> dict[str, object]:
        match = _GET_PATH.fullmatch(path)
        if match is None:
            raise invalid(f"Malformed request: GET {path}")
        specification = _model_specification(match)
        if match["metadata"]:
            return self._metadata(specification)
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=specification)
        return _to_json(self.api.model_status(request))

    def _metadata(self, specification: model_pb2.ModelSpec) -> dict[str, object]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=specification, metadata_field=["signature_def"]
        )
        response = self.api.model_metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return {
            "model_spec": _to_json(response.model_spec),
            "metadata": {"signature_def": _to_json(signatures)},
        }

    def _post(self, path: str, body: bytes) -> dict[str, object]:
        match = _POST_PATH.fullmatch(path)
        if match is None:
            raise invalid(f"Malformed request: POST {path}")
        document = parse_body(body)
        specification = _model_specification(match)
        specification.signature_name = signature_name_in(document)
        verb = match["verb"].lower()
        if verb == "predict":
            return self._predict(specification, document)
        if verb == "classify":
            return self._classify(specification, document)
        return self._regress(specification, document)

    def _predict(
        self, specification: model_pb2.ModelSpec, document: dict[str, object]
    ) -> dict[str, object]:
        servable = self.api.models.find(specification)
        signature_name = signature_name_of(specification)
        expected = servable.input_specifications(signature_name)
        inputs, row_format = predict_inputs(document, expected)
        outputs = servable.run(signature_name, inputs)
        return _rows(outputs) if row_format else _columns(outputs)

    def _classify(
        self, specification: model_pb2.ModelSpec, document: dict[str, object]
    ) -> dict[str, object]:
        request = classification_pb2.ClassificationRequest(
            model_spec=specification, input=examples_input(document)
        )
        result = self.api.classify(request).result
        results = [
            [[item.label, _number(item.score)] for item in classification.classes]
            for classification in result.classifications
        ]
        return {"results": results}

    def _regress(
        self, specification: model_pb2.ModelSpec, document: dict[str, object]
    ) -> dict[str, object]:
        request = regression_pb2.RegressionRequest(
            model_spec=specification, input=examples_input(document)
        )
        result = self.api.regress(request).result
        return {"results": [_number(regression.value) for regression in result.regressions]}


async def _read_body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _BodyTooLarge
    return bytes(body)


def _model_specification(match: re.Match[str]) -> model_pb2.ModelSpec:
    specification = model_pb2.ModelSpec(name=match["name"])
    if match["version"]:
        specification.version.value = int(match["version"])
    if match["label"]:
        specification.version_label = match["label"]
    return specification


def _rows(outputs: dict[str, np.ndarray]) -> dict[str, object]:
    sizes = {name: len(array) if array.ndim else None for name, array in outputs.items()}
    if len(set(sizes.values())) != 1 or None in sizes.values():
        raise invalid(
            f"The outputs do not have one row each per instance ({sizes}), so this signature "
            "needs a request in column format, with 'inputs'."
        )
    columns = {name: from_array(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def _columns(outputs: dict[str, np.ndarray]) -> dict[str, object]:
    columns = {name: from_array(name, array) for name, array in outputs.items()}
    return {"outputs": next(iter(columns.values())) if len(columns) == 1 else columns}


def _number(value: float) -> object:
    return from_array("", np.asarray(value, dtype=np.float32))


def _to_json(message: Message) -> dict[str, object]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _error(message: str) -> dict[str, object]:
    return {"error": message}


def _json_response(status: int, document: dict[str, object]) -> Response:
    return Response(json.dumps(document), status_code=status, media_type="application/json")
