"""Asks a server with the messages and stubs of tensorflow-protobuf, and prints the answers as JSON.

Runs in .venv-conformance/tensorflow-protobuf, so it imports nothing of this repository. That
package's stub of ModelService cannot be imported; the other script calls it.

Argument: the address of the gRPC port.
"""

from __future__ import annotations

import json
import sys

import grpc
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    input_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

SECONDS = 120
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
IDS = {"user_id": [2**53 + 1, -(2**63)], "item_id": [2**63 - 1, 0]}


def predict_request(name: str, signature_name: str = "") -> predict_pb2.PredictRequest:
    return predict_pb2.PredictRequest(model_spec={"name": name, "signature_name": signature_name})


def set_tensor(request: predict_pb2.PredictRequest, name: str, data_type: str, values) -> None:
    """Fills the field of plain values that belongs to the type."""
    field = {"DT_STRING": "string_val", "DT_FLOAT": "float_val", "DT_INT64": "int64_val"}
    tensor = request.inputs[name]
    tensor.dtype = types_pb2.DataType.Value(data_type)
    tensor.tensor_shape.dim.add(size=len(values))
    getattr(tensor, field[data_type]).extend(values)


def half_plus_two(stub, version: int | None = None, **changes: object) -> dict:
    request = predict_request("half_plus_two")
    if version is not None:
        request.model_spec.version.value = version
    set_tensor(request, "x", "DT_FLOAT", [1.0, 2.0, 5.0])
    for name, value in changes.items():
        getattr(request, name).extend(value)
    response = stub.Predict(request, SECONDS)
    return {
        "model": response.model_spec.name,
        "version": response.model_spec.version.value,
        "signature_name": response.model_spec.signature_name,
        "outputs": sorted(response.outputs),
        "dtype": types_pb2.DataType.Name(response.outputs["y"].dtype),
        "shape": [dimension.size for dimension in response.outputs["y"].tensor_shape.dim],
        "values": list(response.outputs["y"].float_val),
        "content": len(response.outputs["y"].tensor_content),
    }


def ids(stub, as_content: bool) -> dict:
    request = predict_request("guide", "ids")
    for name, values in IDS.items():
        set_tensor(request, name, "DT_INT64", values)
        if as_content:
            content = b"".join(value.to_bytes(8, "little", signed=True) for value in values)
            request.inputs[name].ClearField("int64_val")
            request.inputs[name].tensor_content = content
    outputs = stub.Predict(request, SECONDS).outputs
    return {name: list(outputs[name].int64_val) for name in outputs}


def texts(stub, as_content: bool) -> list[str]:
    strings = [b"", "über".encode(), b"\xff\x00"]
    request = predict_request("guide", "texts")
    set_tensor(request, "text", "DT_STRING", strings)
    if as_content:
        request.inputs["text"].ClearField("string_val")
        request.inputs["text"].tensor_content = bytes(map(len, strings)) + b"".join(strings)
    values = stub.Predict(request, SECONDS).outputs["text"].string_val
    return [value.decode("latin-1") for value in values]


def examples() -> input_pb2.Input:
    message = input_pb2.Input()
    message.example_list_with_context.context.features.feature["x2"].float_list.value.append(4.0)
    for value in (1.0, 2.0):
        features = message.example_list_with_context.examples.add().features
        features.feature["x"].float_list.value.append(value)
    return message


def inference(stub) -> dict:
    specification = {"name": "half_plus_two", "signature_name": "classify_x_to_y"}
    classified = stub.Classify(
        classification_pb2.ClassificationRequest(model_spec=specification, input=examples()),
        SECONDS,
    )
    regressing = {"name": "half_plus_two", "signature_name": "regress_x_to_y2"}
    regressed = stub.Regress(
        regression_pb2.RegressionRequest(model_spec=regressing, input=examples()), SECONDS
    )
    several = stub.MultiInference(
        inference_pb2.MultiInferenceRequest(
            tasks=[
                {"model_spec": regressing, "method_name": REGRESS},
                {"model_spec": specification, "method_name": CLASSIFY},
            ],
            input=examples(),
        ),
        SECONDS,
    )
    return {
        "classes": [
            [[item.label, item.score] for item in row.classes]
            for row in classified.result.classifications
        ],
        "values": [one.value for one in regressed.result.regressions],
        "is_same": several.results[0].regression_result == regressed.result
        and several.results[1].classification_result == classified.result,
        "signature_names": [one.model_spec.signature_name for one in several.results],
        "versions": [one.model_spec.version.value for one in several.results],
    }


def metadata(stub) -> dict:
    response = stub.GetModelMetadata(
        get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec={"name": "half_plus_two"}, metadata_field=["signature_def"]
        ),
        SECONDS,
    )
    packed = response.metadata["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    is_unpacked = packed.Unpack(signatures)
    x = signatures.signature_def["serving_default"].inputs["x"]
    return {
        "type_url": packed.type_url,
        "is_unpacked": is_unpacked,
        "version": response.model_spec.version.value,
        "signatures": sorted(signatures.signature_def),
        "x": [x.name, x.dtype, [dimension.size for dimension in x.tensor_shape.dim]],
    }


def refusal(call) -> list[str]:
    try:
        call()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["OK", ""]


def refusals(stub) -> dict:
    wrong_type = predict_request("half_plus_two")
    set_tensor(wrong_type, "x", "DT_STRING", [b"1"])
    extra = predict_request("half_plus_two")
    set_tensor(extra, "x", "DT_FLOAT", [1.0])
    set_tensor(extra, "z", "DT_FLOAT", [1.0])
    calls = {
        "model": lambda: stub.Predict(predict_request("other"), SECONDS),
        "version": lambda: half_plus_two(stub, version=9),
        "signature": lambda: stub.Predict(predict_request("guide", "guess"), SECONDS),
        "missing": lambda: stub.Predict(predict_request("half_plus_two"), SECONDS),
        "extra": lambda: stub.Predict(extra, SECONDS),
        "type": lambda: stub.Predict(wrong_type, SECONDS),
        "output": lambda: half_plus_two(stub, output_filter=["z"]),
        "duplicate": lambda: half_plus_two(stub, output_filter=["y", "y"]),
        "nothing": lambda: stub.Predict(predict_pb2.PredictRequest(), SECONDS),
    }
    return {name: refusal(call) for name, call in calls.items()}


def main() -> None:
    with grpc.insecure_channel(sys.argv[1]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answers = {
            "latest": half_plus_two(stub),
            "by_version": half_plus_two(stub, version=123),
            "filtered": half_plus_two(stub, output_filter=["y"]),
            "ids": ids(stub, as_content=False),
            "ids_as_content": ids(stub, as_content=True),
            "texts": texts(stub, as_content=False),
            "texts_as_content": texts(stub, as_content=True),
            "inference": inference(stub),
            "metadata": metadata(stub),
            "refusals": refusals(stub),
        }
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
