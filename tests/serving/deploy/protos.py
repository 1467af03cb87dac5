"""TensorFlow Serving's configuration messages, as its text files are read.

MonitoringConfig is described here: tensorflow-serving-api does not carry it, and nothing of ours
reads it. Names, numbers and types of its fields are those of the server's
`config/monitoring_config.proto`.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory, text_format

from serving.protocol.server_files_pb2 import BatchingParameters

_FIELD = descriptor_pb2.FieldDescriptorProto


def parse_batching(text: str) -> BatchingParameters:
    """Reads tensorflow.serving.BatchingParameters as the server does.

    Raises:
      google.protobuf.text_format.ParseError: a field is unknown or has a wrong value.
    """
    return text_format.Parse(text, BatchingParameters())


def parse_monitoring(text: str) -> Any:
    """Reads tensorflow.serving.MonitoringConfig as the server does.

    Raises:
      google.protobuf.text_format.ParseError: a field is unknown or has a wrong value.
    """
    return text_format.Parse(text, _monitoring_config()())


def _monitoring_config() -> type[message.Message]:
    package = "tensorflow.serving"
    file = descriptor_pb2.FileDescriptorProto(
        name="monitoring_config.proto", package=package, syntax="proto3"
    )
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=_FIELD.TYPE_BOOL)
    prometheus.field.add(name="path", number=2, type=_FIELD.TYPE_STRING)
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config",
        number=1,
        type=_FIELD.TYPE_MESSAGE,
        type_name=f".{package}.PrometheusConfig",
    )
    for declared in (*prometheus.field, *monitoring.field):
        declared.label = _FIELD.LABEL_OPTIONAL
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{package}.MonitoringConfig")
    )
