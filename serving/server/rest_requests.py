"""Reads predict requests of TensorFlow Serving's REST API, in its words.

Source: `json_tensor.cc` in https://github.com/tensorflow/serving.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from serving.server.errors import RequestError, invalid
from serving.server.input_checks import shape_text
from serving.server.json_text import encoded, format_error, quoted
from serving.server.json_values import dense_shape, is_base64, to_array

Document = Mapping[str, Any]
Specifications = Mapping[str, tf.TensorSpec]


def signature_name_in(document: Document) -> str:
    """The signature that a request names; empty if it names none.

    Raises:
      RequestError: INVALID_ARGUMENT; `signature_name` is not a string, or not one of Unicode.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise format_error(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    encoded(name)  # as the message does, which has no error of its own for it
    return name


def predict_inputs(
    document: Document, specifications: Specifications
) -> tuple[dict[str, np.ndarray], bool]:
    """Reads the tensors of a predict request.

    Args:
      document: with `instances` (row format) or `inputs` (column format).
      specifications: the signature's inputs, at least one; they say what type each JSON value
        becomes.

    Returns:
      Input name -> array, and whether the request is in row format.

    Raises:
      RequestError: INVALID_ARGUMENT, or UNIMPLEMENTED for a type that JSON does not carry.
    """
    if "instances" in document and "inputs" in document:
        raise format_error(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise format_error(document, "Excepting 'instances' to be an list/array")
        if not instances:
            raise format_error(document, "No values in 'instances' array")
        return _arrays_of_instances(instances, specifications), True
    if "inputs" in document:
        return _arrays_of_inputs(document["inputs"], specifications), False
    raise invalid("Missing 'inputs' or 'instances' key")


def _arrays_of_instances(
    instances: list[Any], specifications: Specifications
) -> dict[str, np.ndarray]:
    are_objects = _is_named(instances[0])
    if not are_objects and len(specifications) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    try:
        if not are_objects:
            name, specification = next(iter(specifications.items()))
            return {name: to_array(instances, specification.dtype)}
        if all(isinstance(one, dict) and one.keys() == specifications.keys() for one in instances):
            return {
                name: to_array([instance[name] for instance in instances], specification.dtype)
                for name, specification in specifications.items()
            }
    except RequestError:
        pass  # said below with the element's number
    _refuse_instances(instances, specifications, are_objects)


def _refuse_instances(
    instances: list[Any], specifications: Specifications, are_objects: bool
) -> NoReturn:
    """Goes through the instances one by one as TensorFlow Serving does, up to the first fault."""
    shapes: dict[str, tuple[int, ...]] = {}
    (unnamed, *_) = specifications
    for position, instance in enumerate(instances):
        if _is_named(instance) is not are_objects:
            expected = "object but got list" if are_objects else "value/list but got object"
            raise invalid(f"Expecting {expected} at item {position} of input list")
        for name, value in instance.items() if are_objects else [(unnamed, instance)]:
            try:
                _check_item(name, value, specifications, shapes)
            except RequestError as error:
                key = f" key: {name}" if are_objects else ""
                raise invalid(
                    f"Failed to process element: {position}{key} of 'instances' list. "
                    f"Error: {error.status}"
                ) from error
        if are_objects and instance.keys() != specifications.keys():
            raise invalid(
                f"Failed to process element: {position} of 'instances' list. JSON object: "
                f"{quoted(instance)} must only have keys: {','.join(sorted(specifications))}"
            )
    raise AssertionError("instances without fault are arrays")


def _check_item(
    name: str, value: Any, specifications: Specifications, shapes: dict[str, tuple[int, ...]]
) -> None:
    if name not in specifications:
        raise invalid(f"JSON object: does not have named input: {name}")
    shape = dense_shape(value)
    to_array(value, specifications[name].dtype)
    expected = shapes.setdefault(name, shape)
    if math.prod(shape) != math.prod(expected):
        raise invalid(f"Expecting tensor size: {math.prod(expected)} but got: {math.prod(shape)}")
    if shape != expected:
        raise invalid(f"Expecting shape {shape_text(expected)} but got: {shape_text(shape)}")


def _arrays_of_inputs(inputs: Any, specifications: Specifications) -> dict[str, np.ndarray]:
    if not _is_named(inputs):
        if len(specifications) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name, specification = next(iter(specifications.items()))
        return {name: to_array(inputs, specification.dtype)}
    arrays = {}
    for name, specification in sorted(specifications.items()):
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = to_array(inputs[name], specification.dtype)
    return arrays


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)
