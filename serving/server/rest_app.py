"""TensorFlow Serving's REST API, version 1, as an ASGI application around `PredictionApi`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
import numpy as np
import tensorflow as tf
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serving.protocol.messages import (
    classification_pb2,
    example_pb2,
    feature_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
    model_pb2,
    regression_pb2,
)
from serving.server import metrics
from serving.server.errors import RequestError, RequestTooLargeError, invalid, not_found
from serving.server.json_values import (
    bytes_of,
    classifications,
    columns,
    encoded,
    is_base64,
    message_as_json,
    parse_object,
    predictions,
    quoted,
    regressions,
    to_array,
)
from serving.server.prediction_api import SIGNATURE_FIELD, PredictionApi
from serving.server.servable import signature_name_of

_GZIP = 16 + zlib.MAX_WBITS


class BodyTooLargeError(Exception):
    """The request's body is larger than the server takes."""


async def read_body(request: Request, limit: int) -> bytes:
    """Reads a body, and decompresses it when its `Content-Encoding` is gzip.

    Args:
      request: as it arrives.
      limit: largest size, in bytes, before and after decompression.

    Raises:
      BodyTooLargeError: the body is larger.
      RequestError: INVALID_ARGUMENT; the body is not what gzip writes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError
    if body and "gzip" in request.headers.get("content-encoding", "").lower():
        return _decompressed(bytes(body), limit)
    return bytes(body)


def _decompressed(body: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(_GZIP)
    try:
        plain = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise invalid("The request body is not valid gzip data.") from error
    if len(plain) > limit:
        raise BodyTooLargeError
    if not decompressor.eof:
        raise invalid("The request body is gzip data that ends too early.")
    return plain


_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.I)
_POST = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<verb>predict|classify|regress)", re.I
)
_PATTERNS = {"GET": _GET, "POST": _POST}
_MAXIMUM_VERSION = 2**63 - 1
_VERSION_DIGITS = len(str(_MAXIMUM_VERSION))


@dataclass(frozen=True)
class Target:
    """What a URL asks for.

    Attributes:
      model: name, and perhaps version or label.
      operation: `predict`, `classify`, `regress`, `status` or `metadata`.
    """

    model: model_pb2.ModelSpec
    operation: str


def is_api(url: str) -> bool:
    """Whether a URL belongs to the API at all."""
    return url.lower().startswith("/v1/")


def target_of(method: str, url: str) -> Target:
    """Reads a URL.

    Args:
      method: the HTTP method.
      url: path and query, still encoded.

    Raises:
      RequestError: INVALID_ARGUMENT; the API has no such method or URL.
    """
    pattern = _PATTERNS.get(method)
    match = pattern.fullmatch(url) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {method} {url}")
    if match["name"] is None:
        raise invalid("Missing model name in request.")
    model = model_pb2.ModelSpec(name=unquote(match["name"]))
    if match["version"]:
        digits = match["version"].lstrip("0")
        if len(digits) > _VERSION_DIGITS or int(digits or 0) > _MAXIMUM_VERSION:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        model.version.value = int(digits or 0)
    if match["label"]:
        model.version_label = unquote(match["label"])
    if method == "POST":
        return Target(model, match["verb"].lower())
    return Target(model, "metadata" if match["metadata"] else "status")


Document = Mapping[str, Any]
Specifications = Mapping[str, tf.TensorSpec]


def signature_name_in(document: Document) -> str:
    """The signature that a request names; empty if it names none.

    Raises:
      RequestError: INVALID_ARGUMENT; `signature_name` is not a string, or not one of Unicode.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(f"'signature_name' must be a string. Received: {quoted(name)}")
    encoded(name)  # as the message does, which has no error of its own for it
    return name


def predict_inputs(
    document: Document, specifications: Specifications
) -> tuple[dict[str, np.ndarray], bool]:
    """Reads the tensors of a predict request.

    Args:
      document: with `instances` (row format) or `inputs` (column format).
      specifications: the signature's inputs, at least one; they say what type each JSON value
        becomes.

    Returns:
      Input name -> array, and whether the request is in row format.

    Raises:
      RequestError: INVALID_ARGUMENT, or UNIMPLEMENTED for a type that JSON does not carry.
    """
    if ("instances" in document) is ("inputs" in document):
        raise invalid("a request must have either 'instances' or 'inputs'")
    if "inputs" in document:
        return _arrays(_columns(document["inputs"], specifications), specifications), False
    instances = document["instances"]
    if not isinstance(instances, list) or not instances:
        raise invalid("'instances' must be a list that is not empty")
    return _arrays(_columns_of_instances(instances, specifications), specifications), True


def _columns_of_instances(
    instances: list[Any], specifications: Specifications
) -> dict[str, list[Any]]:
    names = list(specifications)
    if len(names) == 1 and not any(map(_is_named, instances)):
        return {names[0]: instances}
    for position, instance in enumerate(instances):
        if not _is_named(instance) or instance.keys() != specifications.keys():
            raise invalid(
                f"instances[{position}] must be an object with the keys {', '.join(sorted(names))} "
                f"alone. Received: {quoted(instance)}"
            )
    return {name: [instance[name] for instance in instances] for name in names}


def _columns(inputs: Any, specifications: Specifications) -> dict[str, Any]:
    names = list(specifications)
    if len(names) == 1 and not _is_named(inputs):
        return {names[0]: inputs}
    if not _is_named(inputs) or not specifications.keys() <= inputs.keys():
        raise invalid(f"'inputs' must be an object with the keys {', '.join(sorted(names))}")
    return {name: inputs[name] for name in names}


def _arrays(columns: Mapping[str, Any], specifications: Specifications) -> dict[str, np.ndarray]:
    arrays = {}
    for name, column in columns.items():
        try:
            arrays[name] = to_array(column, specifications[name].dtype)
        except RequestError as error:
            raise RequestError(error.code, f"input '{name}': {error.message}") from error
    return arrays


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def examples_input(document: Mapping[str, Any]) -> input_pb2.Input:
    """Reads the tf.Examples of a classify or regress request.

    Args:
      document: with `examples`, a list of objects, and perhaps `context`, an object of features
        that all of them share.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    message = input_pb2.Input()
    target: Any = message.example_list
    if "context" in document:
        target = message.example_list_with_context
        target.context.CopyFrom(_example(document["context"]))
    examples = document.get("examples")
    if not isinstance(examples, list) or not examples:
        raise invalid("'examples' must be a list that is not empty")
    target.examples.extend(map(_example, examples))
    return message


def _example(features: Any) -> example_pb2.Example:
    if not isinstance(features, dict):
        raise invalid(f"an example must be an object of features. Received: {quoted(features)}")
    example = example_pb2.Example()
    for name, content in features.items():
        encoded(name)  # as the message does, which has no error of its own for it
        feature = example.features.feature[name]
        for value in content if isinstance(content, list) else [content]:
            _add_value(feature, value, name)
    return example


def _add_value(feature: feature_pb2.Feature, value: Any, name: str) -> None:
    content: bytes | float
    try:
        if isinstance(value, int):  # a boolean is 0 or 1
            kind, content = "int64_list", to_array(int(value), tf.int64).item()
        elif isinstance(value, float):
            kind, content = "float_list", to_array(value, tf.float32).item()
        else:
            kind, content = "bytes_list", bytes_of(value)
    except RequestError as error:
        raise invalid(f"feature '{name}': {error.message}") from error
    if feature.WhichOneof("kind") not in (None, kind):
        raise invalid(f"feature '{name}' has values of different types")
    getattr(feature, kind).value.append(content)


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


class _AnyPath(Convertor[str]):
    """All that a path may hold; Starlette's own `path` ends at the end of a line."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_path", _AnyPath())


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
                Route("/{path:any_path}", self._handle, methods=_METHODS),
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
            headers = request.headers.items()
            return await run_in_threadpool(
                self._respond, request.method, _url(request), headers, body
            )
        except asyncio.CancelledError:  # the time that a stop leaves is up
            return _error_response(503, "The server is stopping")

    def _respond(
        self, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> Response:
        try:
            if not is_api(url):
                raise not_found(f"No such path: {url}")
            target = target_of(method, url)
            operation = _OPERATIONS[target.operation]
            name = self.api.counted_name(target.model)
            with metrics.counted_request(name, operation, "REST", headers):
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
