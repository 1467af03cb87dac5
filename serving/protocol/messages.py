"""TensorFlow Serving's messages, stubs and status codes, imported without loading TensorFlow.

Where the package `tensorflow_serving` is not installed, as in a client's environment, they are made
from the descriptors in `messages.binpb` (TensorFlow's and TensorFlow Serving's, Apache-2.0).
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper


@contextlib.contextmanager
def _without_tensorflow() -> Iterator[None]:
    specification = None if "tensorflow" in sys.modules else importlib.util.find_spec("tensorflow")
    if specification is None:
        yield
        return
    stand_in = ModuleType("tensorflow")
    stand_in.__path__ = list(specification.submodule_search_locations or ())
    sys.modules["tensorflow"] = stand_in
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


DESCRIPTORS = Path(__file__).with_name("messages.binpb")


def modules_of(descriptors: bytes) -> dict[str, SimpleNamespace]:
    """What protoc would generate of files, with the parts that clients use.

    The messages are in a pool of their own, where other packages' messages of the same names do not
    matter.

    Args:
      descriptors: a FileDescriptorSet, each file after those that it imports.

    Returns:
      "<file>_pb2" -> messages and enumerations, "<file>_pb2_grpc" -> stubs.
    """
    pool = descriptor_pool.DescriptorPool()
    modules = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
        name = Path(file.name).stem
        described = pool.FindFileByName(file.name)
        modules[f"{name}_pb2"] = SimpleNamespace(**_messages(described))
        modules[f"{name}_pb2_grpc"] = SimpleNamespace(
            **{
                f"{service}Stub": _stub(methods)
                for service, methods in described.services_by_name.items()
            }
        )
    return modules


def _messages(file: FileDescriptor) -> dict[str, Any]:
    enumerations = file.enum_types_by_name.values()
    return {
        "DESCRIPTOR": file,
        **{
            name: message_factory.GetMessageClass(message)
            for name, message in file.message_types_by_name.items()
        },
        **{enumeration.name: EnumTypeWrapper(enumeration) for enumeration in enumerations},
        **{value.name: value.number for one in enumerations for value in one.values},
    }


def _stub(service: ServiceDescriptor) -> type:
    """A class whose objects call the methods of a service, all of one request and one answer."""

    def connect(self: Any, channel: Any) -> None:
        for method in service.methods:
            call = channel.unary_unary(
                f"/{service.full_name}/{method.name}",
                request_serializer=message_factory.GetMessageClass(
                    method.input_type
                ).SerializeToString,
                response_deserializer=message_factory.GetMessageClass(
                    method.output_type
                ).FromString,
            )
            setattr(self, method.name, call)

    return type(f"{service.name}Stub", (), {"__init__": connect})


if importlib.util.find_spec("tensorflow_serving") is None:
    globals().update(modules_of(DESCRIPTORS.read_bytes()))
else:
    with _without_tensorflow():
        from tensorflow.core.example import example_pb2, feature_pb2
        from tensorflow.core.framework import tensor_pb2, types_pb2
        from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2
        from tensorflow_serving.apis import (
            classification_pb2,
            get_model_metadata_pb2,
            get_model_status_pb2,
            inference_pb2,
            input_pb2,
            model_management_pb2,
            model_pb2,
            model_service_pb2,
            model_service_pb2_grpc,
            predict_pb2,
            prediction_log_pb2,
            prediction_service_pb2,
            prediction_service_pb2_grpc,
            regression_pb2,
        )
        from tensorflow_serving.config import model_server_config_pb2

__all__ = [
    "classification_pb2",
    "config_pb2",
    "example_pb2",
    "feature_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "input_pb2",
    "meta_graph_pb2",
    "model_management_pb2",
    "model_pb2",
    "model_server_config_pb2",
    "model_service_pb2",
    "model_service_pb2_grpc",
    "predict_pb2",
    "prediction_log_pb2",
    "prediction_service_pb2",
    "prediction_service_pb2_grpc",
    "regression_pb2",
    "saved_model_pb2",
    "tensor_pb2",
    "types_pb2",
]

STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
"""Number -> status code."""
