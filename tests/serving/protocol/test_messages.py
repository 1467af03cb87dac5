from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor

from serving.protocol import messages
from serving.protocol.messages import DESCRIPTORS, STATUS_CODES, modules_of

LIGHT = """
import sys
from serving.protocol.messages import predict_pb2, prediction_service_pb2_grpc
from serving.client import RankingClient
assert "tensorflow" not in sys.modules
assert not [name for name in sys.modules if name.startswith("tensorflow.python")]
"""

REAL = """
import tensorflow as tf
assert tf.constant([1.5, 2.5]).numpy().tolist() == [1.5, 2.5]
"""

TOGETHER = """
request = predict_pb2.PredictRequest()
request.inputs["a"].CopyFrom(tf.make_tensor_proto([1.5, 2.5]))
assert tf.make_ndarray(request.inputs["a"]).tolist() == [1.5, 2.5]
from tensorflow.core.framework import tensor_pb2
from serving.protocol import messages
assert type(request.inputs["a"]) is tensor_pb2.TensorProto is messages.tensor_pb2.TensorProto
assert tf.train.Example is messages.example_pb2.Example
assert not hasattr(tf, "core")
import tensorflow_recommenders
print("fine")
"""


@pytest.mark.parametrize(
    "order",
    [(LIGHT, REAL), pytest.param((REAL, LIGHT.split("assert")[0]), marks=pytest.mark.slow)],
    ids=["messages first", "TensorFlow first"],
)
def test_messages_and_tensorflow_get_along_in_both_orders(
    order: tuple[str, str], repository_root: Path
) -> None:
    program = "".join([*order, TOGETHER])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository_root, capture_output=True, text=True
    )
    assert done.stdout == "fine\n", done.stderr


def test_numbers_are_those_of_tensorflow() -> None:
    assert STATUS_CODES[tf.errors.INVALID_ARGUMENT] is grpc.StatusCode.INVALID_ARGUMENT
    assert STATUS_CODES[tf.errors.DATA_LOSS] is grpc.StatusCode.DATA_LOSS
    assert STATUS_CODES[0] is grpc.StatusCode.OK
    assert set(STATUS_CODES) == set(range(17))


def installed_descriptors() -> bytes:
    """Of all messages that the module lists, and of what they are made of, as installed."""
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def take(file: FileDescriptor) -> None:
        for imported in file.dependencies:
            take(imported)
        if file.name not in files:
            files[file.name] = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(files[file.name])

    for name in messages.__all__:
        if name.endswith("_pb2"):
            take(getattr(messages, name).DESCRIPTOR)
    return descriptor_pb2.FileDescriptorSet(file=files.values()).SerializeToString()


def test_descriptors_are_those_of_the_packages() -> None:
    """With REKI_WRITE_CONTRACT=1 they are written anew, after an update of the packages."""
    if os.environ.get("REKI_WRITE_CONTRACT"):
        DESCRIPTORS.write_bytes(installed_descriptors())
    assert DESCRIPTORS.read_bytes() == installed_descriptors()


def test_messages_of_descriptors_are_those_of_the_packages() -> None:
    modules = modules_of(DESCRIPTORS.read_bytes())
    assert {*messages.__all__} <= {*modules}
    request = messages.predict_pb2.PredictRequest(output_filter=["scores"])
    request.model_spec.name, request.model_spec.version.value = "movies", 3
    request.inputs["ids"].CopyFrom(tf.make_tensor_proto([["a"], ["b"]]))
    again = modules["predict_pb2"].PredictRequest.FromString(request.SerializeToString())
    assert again.inputs["ids"].dtype == modules["types_pb2"].DT_STRING == tf.string.as_datatype_enum
    assert messages.predict_pb2.PredictRequest.FromString(again.SerializeToString()) == request

    described = messages.get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = messages.get_model_metadata_pb2.SignatureDefMap()
    signatures.signature_def["rank"].inputs["user_id"].dtype = tf.int64.as_datatype_enum
    described.metadata["signature_def"].Pack(signatures)
    of_client = modules["get_model_metadata_pb2"]
    found = of_client.GetModelMetadataResponse.FromString(described.SerializeToString())
    unpacked = of_client.SignatureDefMap()
    assert found.metadata["signature_def"].Unpack(unpacked)
    assert unpacked.signature_def["rank"].inputs["user_id"].dtype == modules["types_pb2"].DT_INT64
    states = modules["get_model_status_pb2"].ModelVersionStatus
    assert states.AVAILABLE == messages.get_model_status_pb2.ModelVersionStatus.AVAILABLE


def test_a_stub_of_descriptors_asks_a_server_of_the_packages() -> None:
    class Echo(messages.prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: object, context: object) -> object:  # noqa: N802
            return messages.predict_pb2.PredictResponse(outputs=dict(request.inputs))

    modules = modules_of(DESCRIPTORS.read_bytes())
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    add = messages.prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server
    add(Echo(), server)
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = modules["prediction_service_pb2_grpc"].PredictionServiceStub(channel)
            request = modules["predict_pb2"].PredictRequest()
            request.inputs["ids"].int64_val.extend([5, 7])
            answer = stub.Predict(request, timeout=120)
    finally:
        server.stop(None)
    assert [*answer.outputs["ids"].int64_val] == [5, 7]
