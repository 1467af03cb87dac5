"""Reads the JSON bodies of TensorFlow Serving's REST API."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from serving.protocol.messages import example_pb2, feature_pb2, input_pb2
from serving.server.errors import invalid
from serving.server.json_values import bytes_of, is_base64, json_type_name, to_array


def parse_body(body: bytes) -> dict[str, object]:
    """Reads the request body, which must be a JSON object.

    Raises:
      RequestError: INVALID_ARGUMENT; the message says where the JSON is broken.
    """
    if not body:
        raise invalid("JSON parse error: the request body is empty.")
    try:
        document = json.loads(body)
    except UnicodeDecodeError as error:
        raise invalid(f"JSON parse error: not UTF-8 text at byte {error.start}.") from error
    except json.JSONDecodeError as error:
        raise invalid(f"JSON parse error: {error.msg} at offset {error.pos}.") from error
    except RecursionError as error:
        raise invalid("JSON parse error: lists or objects are nested too deeply.") from error
    if not isinstance(document, dict):
        raise invalid(f"The request body must be a JSON object, not {json_type_name(document)}.")
    return document


def signature_name_in(document: Mapping[str, object]) -> str:
    """The signature that a request names; empty if it names none.

    Raises:
      RequestError: INVALID_ARGUMENT; `signature_name` is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("'signature_name' must be a string.")
    return name


def predict_inputs(
    document: Mapping[str, object], specifications: Mapping[str, tf.TensorSpec]
) -> tuple[dict[str, np.ndarray], bool]:
    """Reads the tensors of a predict request.

    Args:
      document: with `instances` (row format) or `inputs` (column format).
      specifications: the signature's inputs, which say what type each JSON value becomes.

    Returns:
      Input name -> array, and whether the request is in row format.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    if ("instances" in document) == ("inputs" in document):
        raise invalid("The request needs exactly one of the keys 'instances' and 'inputs'.")
    if "instances" in document:
        columns = _columns_of_instances(document["instances"], specifications)
    else:
        columns = _columns_of_inputs(document["inputs"], specifications)
    arrays = {
        name: to_array(values, specifications[name].dtype, f'input "{name}"')
        for name, values in columns.items()
    }
    return arrays, "instances" in document


def examples_input(document: Mapping[str, object]) -> input_pb2.Input:
    """Reads the tf.Examples of a classify or regress request.

    Args:
      document: with `examples`, a list of objects, and perhaps `context`, an object of features
        that all of them share.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    examples = document.get("examples")
    if not isinstance(examples, list) or not examples:
        raise invalid("The request needs 'examples', a list with at least one object of features.")
    message = input_pb2.Input()
    if "context" in document:
        target = message.example_list_with_context
        target.context.CopyFrom(_example(document["context"], "'context'"))
    else:
        target = message.example_list
    target.examples.extend(
        _example(example, f"example {position}") for position, example in enumerate(examples)
    )
    return message


def _columns_of_instances(
    instances: object, specifications: Mapping[str, tf.TensorSpec]
) -> dict[str, object]:
    if not isinstance(instances, list) or not instances:
        raise invalid("'instances' must be a list with at least one element.")
    if not isinstance(instances[0], dict) or is_base64(instances[0]):
        return {_only_input(specifications, "'instances'"): instances}
    expected = ",".join(sorted(specifications))
    for position, instance in enumerate(instances):
        if not isinstance(instance, dict) or instance.keys() != specifications.keys():
            raise invalid(
                f"Element {position} of 'instances' must be an object with the keys {{{expected}}}."
            )
    return {name: [instance[name] for instance in instances] for name in specifications}


def _columns_of_inputs(
    inputs: object, specifications: Mapping[str, tf.TensorSpec]
) -> dict[str, object]:
    if not isinstance(inputs, dict) or is_base64(inputs):
        return {_only_input(specifications, "'inputs'"): inputs}
    missing = sorted(specifications.keys() - inputs.keys())
    extra = sorted(inputs.keys() - specifications.keys())
    if missing or extra:
        raise invalid(
            f"'inputs' does not match the signature. Missing but required: "
            f"{{{','.join(missing)}}}. Sent extra: {{{','.join(extra)}}}."
        )
    return inputs


def _only_input(specifications: Mapping[str, tf.TensorSpec], where: str) -> str:
    if len(specifications) != 1:
        expected = ",".join(sorted(specifications))
        raise invalid(f"{where} must name its inputs, because there are several: {{{expected}}}.")
    return next(iter(specifications))


def _example(features: object, where: str) -> example_pb2.Example:
    if not isinstance(features, dict):
        raise invalid(f"{where} must be an object of features, not {json_type_name(features)}.")
    example = example_pb2.Example()
    for name, content in features.items():
        values = content if isinstance(content, list) else [content]
        _fill_feature(example.features.feature[name], values, f'feature "{name}" of {where}')
    return example


def _fill_feature(feature: feature_pb2.Feature, values: list[object], where: str) -> None:
    kinds = {_feature_kind(value, where) for value in values}
    if len(kinds) > 1:
        raise invalid(f"{where} mixes types: {', '.join(sorted(kinds))}.")
    for kind in kinds:
        target = getattr(feature, kind).value
        try:
            if kind == "bytes_list":
                target.extend(bytes_of(value, where) for value in values)
            elif kind == "int64_list":
                target.extend(np.asarray(values, dtype=np.int64).tolist())
            else:
                target.extend(to_array(values, tf.float32, where).tolist())
        except OverflowError as error:
            raise invalid(f"{where} has a number that does not fit int64.") from error


def _feature_kind(value: object, where: str) -> str:
    if isinstance(value, str) or is_base64(value):
        return "bytes_list"
    if isinstance(value, int):
        return "int64_list"
    if isinstance(value, float):
        return "float_list"
    raise invalid(f"{where} has a value that no feature can hold: {json_type_name(value)}.")
