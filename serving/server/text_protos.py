"""TensorFlow Serving's configuration messages that `tensorflow-serving-api` does not carry.

They are described here by hand, in a pool of their own: fields, numbers and types as in the
server's `servables/tensorflow/session_bundle_config.proto` and `config/ssl_config.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from google.protobuf.message import Message

from configs.loading import ConfigurationError

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tensorflow.serving"
_INT64, _BOOL = ".google.protobuf.Int64Value", ".google.protobuf.BoolValue"
_STRING = ".google.protobuf.StringValue"

# Message -> field -> (number, type); a type with a dot is a message.
_MESSAGES: Mapping[str, Mapping[str, tuple[int, int | str]]] = {
    "BatchingParameters": {
        "max_batch_size": (1, _INT64),
        "batch_timeout_micros": (2, _INT64),
        "max_enqueued_batches": (3, _INT64),
        "num_batch_threads": (4, _INT64),
        "thread_pool_name": (5, _STRING),
        "allowed_batch_sizes": (6, _Field.TYPE_INT64),
        "pad_variable_length_inputs": (7, _Field.TYPE_BOOL),
        "enable_large_batch_splitting": (8, _BOOL),
        "max_execution_batch_size": (9, _INT64),
    },
    "SSLConfig": {
        "server_key": (1, _Field.TYPE_STRING),
        "server_cert": (2, _Field.TYPE_STRING),
        "custom_ca": (3, _Field.TYPE_STRING),
        "client_verify": (4, _Field.TYPE_BOOL),
    },
}
_REPEATED = {"allowed_batch_sizes"}


def read_text_message(path: str | Path, name: str) -> Message:
    """Reads a file in text format.

    Args:
      path: the file.
      name: "BatchingParameters" or "SSLConfig".

    Raises:
      ConfigurationError: the file cannot be read or is no such message. The message names the place
        and never quotes the file, which may hold a key.
    """
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), _CLASSES[name]())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not a text file") from error
    except text_format.ParseError as error:
        place = f"line {error.GetLine()}, column {error.GetColumn()}"
        fields = ", ".join(_MESSAGES[name])
        raise ConfigurationError(
            f"{path}: {place}: not {_PACKAGE}.{name} in text format. Its fields are {fields}"
        ) from None


def _classes() -> dict[str, type[Message]]:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="server_files.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            repeated = field_name in _REPEATED
            field = message.field.add(
                name=field_name,
                number=number,
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
            )
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, kind
            else:
                field.type = _Field.Type.ValueType(kind)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _classes()
