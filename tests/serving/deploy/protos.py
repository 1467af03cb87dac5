"""TensorFlow Serving's configuration messages that tensorflow-serving-api does not carry.

Field names, numbers and types are those of `servables/tensorflow/session_bundle_config.proto` and
`config/monitoring_config.proto` of the server; the text format reads nothing else of them.
"""

from __future__ import annotations

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
    text_format,
    wrappers_pb2,
)

_FIELD = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _FIELD.LABEL_OPTIONAL, _FIELD.LABEL_REPEATED
_INT64, _BOOL = ".google.protobuf.Int64Value", ".google.protobuf.BoolValue"

_BATCHING_PARAMETERS = (
    ("max_batch_size", 1, _INT64),
    ("batch_timeout_micros", 2, _INT64),
    ("max_enqueued_batches", 3, _INT64),
    ("num_batch_threads", 4, _INT64),
    ("thread_pool_name", 5, ".google.protobuf.StringValue"),
    ("enable_large_batch_splitting", 8, _BOOL),
    ("max_execution_batch_size", 9, _INT64),
)


def parse_batching(text: str) -> message.Message:
    """Reads tensorflow.serving.BatchingParameters as the server does.

    Raises:
      google.protobuf.text_format.ParseError: a field is unknown or has a wrong value.
    """
    return text_format.Parse(text, _MESSAGES["BatchingParameters"]())


def parse_monitoring(text: str) -> message.Message:
    """Reads tensorflow.serving.MonitoringConfig as the server does.

    Raises:
      google.protobuf.text_format.ParseError: a field is unknown or has a wrong value.
    """
    return text_format.Parse(text, _MESSAGES["MonitoringConfig"]())


def _messages() -> dict[str, type[message.Message]]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    package = "tensorflow.serving"
    file = descriptor_pb2.FileDescriptorProto(
        name="server_configuration.proto",
        package=package,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    batching = file.message_type.add(name="BatchingParameters")
    for name, number, type_name in _BATCHING_PARAMETERS:
        batching.field.add(
            name=name, number=number, label=_ONE, type=_FIELD.TYPE_MESSAGE, type_name=type_name
        )
    batching.field.add(name="allowed_batch_sizes", number=6, label=_MANY, type=_FIELD.TYPE_INT64)
    batching.field.add(
        name="pad_variable_length_inputs", number=7, label=_ONE, type=_FIELD.TYPE_BOOL
    )
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, label=_ONE, type=_FIELD.TYPE_BOOL)
    prometheus.field.add(name="path", number=2, label=_ONE, type=_FIELD.TYPE_STRING)
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config",
        number=1,
        label=_ONE,
        type=_FIELD.TYPE_MESSAGE,
        type_name=f".{package}.PrometheusConfig",
    )
    pool.Add(file)
    names = ("BatchingParameters", "MonitoringConfig")
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in names
    }


_MESSAGES = _messages()
