"""Reads classify and regress requests of TensorFlow Serving's REST API, in its words.

Source: `json_tensor.cc` in https://github.com/tensorflow/serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from serving.protocol.messages import example_pb2, feature_pb2, input_pb2
from serving.server.errors import RequestError, invalid
from serving.server.json_text import encoded, format_error, kind_name
from serving.server.json_values import bytes_of, check_float_range, is_base64

_KIND_NAMES = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


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
    if "examples" not in document:
        raise format_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise format_error(document, "'examples' value is an empty array")
    target.examples.extend(map(_example, examples))
    return message


def _example(features: Any) -> example_pb2.Example:
    if not isinstance(features, dict):
        raise invalid(f"Example must be JSON object but got JSON {kind_name(features)}")
    example = example_pb2.Example()
    for name, content in features.items():
        encoded(name)  # as the message does, which has no error of its own for it
        feature = example.features.feature[name]
        for value in content if isinstance(content, list) else [content]:
            _add_value(feature, value, name)
    return example


def _add_value(feature: feature_pb2.Feature, value: Any, name: str) -> None:
    if isinstance(value, str) or is_base64(value):
        _values_of_kind("bytes_list", feature, name).append(bytes_of(value))
    elif isinstance(value, int):
        values = _values_of_kind("int64_list", feature, name)
        if not tf.int64.min <= value <= tf.int64.max:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        values.append(int(value))  # a boolean is 0 or 1
    elif isinstance(value, float):
        values = _values_of_kind("float_list", feature, name)
        check_float_range(value, tf.float32)
        values.append(value)
    else:
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind_name(value)}")


def _values_of_kind(kind: str, feature: feature_pb2.Feature, name: str) -> Any:
    found = feature.WhichOneof("kind")
    if found not in (None, kind):
        raise _mixed_types(name, found)
    return getattr(feature, kind).value


def _mixed_types(name: str, found: str) -> RequestError:
    return invalid(
        f"Unexpected element type in feature: {name} expecting type: {_KIND_NAMES[found]}"
    )
