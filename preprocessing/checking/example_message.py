"""The message `tf.train.Example`, parsed by protobuf's C code without TensorFlow.

Field numbers are those of tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "reki_tensorflow.checking"
_LISTS = (
    ("BytesList", "bytes_list", _FIELD.TYPE_BYTES),
    ("FloatList", "float_list", _FIELD.TYPE_FLOAT),
    ("Int64List", "int64_list", _FIELD.TYPE_INT64),
)


def _example_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="reki_tensorflow/example.proto", package=_PACKAGE, syntax="proto3"
    )
    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (message, name, kind) in enumerate(_LISTS, start=1):
        values = file.message_type.add(name=message)
        values.field.add(name="value", number=1, type=kind, label=_FIELD.LABEL_REPEATED)
        feature.field.add(
            name=name,
            number=number,
            type=_FIELD.TYPE_MESSAGE,
            type_name=f".{_PACKAGE}.{message}",
            label=_FIELD.LABEL_OPTIONAL,
            oneof_index=0,
        )
    file.message_type.append(feature)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    _add_message(entry, "value", 2, "Feature")
    _add_message(features, "feature", 1, "Features.FeatureEntry", _FIELD.LABEL_REPEATED)
    _add_message(file.message_type.add(name="Example"), "features", 1, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


def _add_message(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    kind: str,
    label: descriptor_pb2.FieldDescriptorProto.Label.ValueType = _FIELD.LABEL_OPTIONAL,
) -> None:
    message.field.add(
        name=name,
        number=number,
        type=_FIELD.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.{kind}",
        label=label,
    )


Example = _example_class()
"""Class of the message; `Example.FromString` raises `google.protobuf.message.DecodeError`."""
