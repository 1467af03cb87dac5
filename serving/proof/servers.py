"""The local server on one version, asked over gRPC and over REST."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import requests
import tensorflow as tf

from configs.command_line import CommandError
from serving.c_api import signature_definitions
from serving.options import ServerOptions
from serving.proof.result import Ways
from serving.protocol.messages import (
    classification_pb2,
    example_pb2,
    input_pb2,
    model_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from serving.protocol.tensors import pack, unpack

_MODEL = "proof"
_SECONDS = 120.0
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Proxies of the environment are not for this machine.
    ("grpc.enable_http_proxy", 0),
]

Arrays = Mapping[str, np.ndarray]


@contextmanager
def server_loader(version_folder: Path) -> Iterator[Ways]:
    """A server for this version alone, asked over gRPC and over REST."""
    with _served(version_folder) as server, requests.Session() as session:
        session.trust_env = False
        address = f"http://{server.host}:{server.rest_port}/v1/models/{_MODEL}"
        target = f"{server.host}:{server.grpc_port}"
        with grpc.insecure_channel(target, options=_CHANNEL_OPTIONS) as channel:
            yield {
                "grpc": _GrpcClient(channel),
                "rest": _RestClient(session, address, signature_definitions(version_folder)),
            }


@contextmanager
def _served(version_folder: Path) -> Iterator[Any]:
    """A server on free ports of this machine. Its base path is a folder with a link to the version.

    So the version need not have its final name, and nothing else that is beside it is served.
    """
    from serving.server import LocalServer

    # The connection of one client, which may be busy elsewhere between two requests.
    options = ServerOptions(rest_keep_alive_seconds=_SECONDS)
    with tempfile.TemporaryDirectory(prefix="proof_") as base:
        (Path(base) / "1").symlink_to(version_folder.resolve(), target_is_directory=True)
        with LocalServer({_MODEL: base}, options=options) as server:
            yield server


class _GrpcClient:
    """Asks by Predict, Classify and Regress."""

    def __init__(self, channel: grpc.Channel):
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def __call__(self, signature: str, inputs: Arrays) -> Arrays:
        specification = model_pb2.ModelSpec(name=_MODEL, signature_name=signature)
        try:
            if signature == "classify":
                return self._classify(specification, _examples(inputs))
            if signature == "regress":
                return self._regress(specification, _examples(inputs))
            request = predict_pb2.PredictRequest(model_spec=specification)
            for name, values in inputs.items():
                request.inputs[name].CopyFrom(pack(values))
            response = self._stub.Predict(request, timeout=_SECONDS)
        except grpc.RpcError as error:
            raise CommandError(f"{error.code().name}: {error.details()}") from error
        return {name: unpack(message) for name, message in response.outputs.items()}

    def _classify(self, specification: model_pb2.ModelSpec, examples: input_pb2.Input) -> Arrays:
        request = classification_pb2.ClassificationRequest(model_spec=specification, input=examples)
        result = self._stub.Classify(request, timeout=_SECONDS).result
        rows = [
            [scored_class.score for scored_class in row.classes] for row in result.classifications
        ]
        return {"scores": np.array(rows, np.float32)}

    def _regress(self, specification: model_pb2.ModelSpec, examples: input_pb2.Input) -> Arrays:
        request = regression_pb2.RegressionRequest(model_spec=specification, input=examples)
        result = self._stub.Regress(request, timeout=_SECONDS).result
        return {"outputs": np.array([row.value for row in result.regressions], np.float32)}


class _RestClient:
    """Asks by :predict, :classify and :regress."""

    def __init__(self, session: requests.Session, address: str, definitions: Mapping[str, Any]):
        self._session = session
        self._address = address
        self._definitions = definitions

    def __call__(self, signature: str, inputs: Arrays) -> Arrays:
        if signature == "classify":
            rows = self._post(signature, "classify", _json_examples(inputs))["results"]
            return {"scores": np.array([[score for _, score in row] for row in rows], np.float32)}
        if signature == "regress":
            rows = self._post(signature, "regress", _json_examples(inputs))["results"]
            return {"outputs": np.array(rows, np.float32)}
        body = {"inputs": {name: _json_values(values) for name, values in inputs.items()}}
        answered = self._post(signature, "predict", body)["outputs"]
        outputs = self._definitions[signature].outputs
        if len(outputs) == 1:
            # A signature of one output answers with its values, without its name.
            answered = {next(iter(outputs)): answered}
        return {name: _array(values, outputs[name].dtype) for name, values in answered.items()}

    def _post(self, signature: str, verb: str, body: Mapping[str, object]) -> dict[str, Any]:
        # Numbers that are not known are NaN, which TensorFlow Serving reads in JSON.
        content = json.dumps({"signature_name": signature, **body})
        try:
            response = self._session.post(
                f"{self._address}:{verb}", data=content.encode(), timeout=_SECONDS
            )
            document = response.json()
        except requests.RequestException as error:
            raise CommandError(str(error)) from error
        if response.status_code != 200:
            raise CommandError(f"HTTP {response.status_code}: {document.get('error')}")
        return document


def _examples(inputs: Arrays) -> input_pb2.Input:
    (serialized,) = inputs.values()
    message = input_pb2.Input()
    message.example_list.examples.extend(map(example_pb2.Example.FromString, serialized))
    return message


def _json_examples(inputs: Arrays) -> dict[str, object]:
    (serialized,) = inputs.values()
    examples = []
    for text in serialized:
        features = example_pb2.Example.FromString(text).features.feature
        examples.append({name: _json_feature(feature) for name, feature in features.items()})
    return {"examples": examples}


def _json_feature(feature: Any) -> list[object]:
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    return [_json_text(value) if isinstance(value, bytes) else value for value in values]


def _json_values(values: np.ndarray) -> object:
    if values.dtype != object:
        return values.tolist()
    texts = np.empty(values.size, dtype=object)
    texts[:] = [_json_text(value) for value in values.ravel()]
    return texts.reshape(values.shape).tolist()


def _json_text(value: bytes) -> object:
    """Text as it is, other bytes in base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _array(values: object, type_number: int) -> np.ndarray:
    if type_number != tf.string.as_datatype_enum:
        return np.array(values, tf.as_dtype(type_number).as_numpy_dtype)
    texts = np.array(values, dtype=object)
    flat = np.empty(texts.size, dtype=object)
    flat[:] = [_bytes(text) for text in texts.ravel()]
    return flat.reshape(texts.shape)


def _bytes(value: Any) -> bytes:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()
