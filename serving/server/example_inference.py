"""Classification and regression on serialized tf.Examples, by TensorFlow Serving's rules.

The names of a signature's input and outputs are fixed: classification reads `inputs` and gives
`scores`, `classes` or both, each [batch, classes]; regression reads `inputs` and gives `outputs`,
[batch] or [batch, 1]. As in TensorFlow Serving's default settings, the method name that is stored
with a signature does not matter, because TensorFlow 2 always stores the one for prediction.

The rules and words are those of `classifier.cc` and `regressor.cc` in
https://github.com/tensorflow/serving.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from serving.protocol.messages import (
    classification_pb2,
    input_pb2,
    meta_graph_pb2,
    regression_pb2,
    types_pb2,
)
from serving.server.errors import invalid
from serving.server.servable import Servable, shape_text

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"
_INPUT = "inputs"
_CLASSES = "classes"
_SCORES = "scores"
_OUTPUT = "outputs"


def examples_of(message: input_pb2.Input) -> np.ndarray:
    """Serializes a request's examples, each completed by the request's common context.

    Returns:
      Serialized tf.Examples, [batch] of `bytes`.

    Raises:
      RequestError: INVALID_ARGUMENT; there are none.
    """
    kind = message.WhichOneof("kind")
    context = b""
    if kind == "example_list_with_context":
        # Joined messages merge when they are parsed, so the context's features count for every
        # example.
        context = message.example_list_with_context.context.SerializeToString()
    examples = getattr(message, kind).examples if kind else ()
    if not examples:
        raise invalid("Input is empty.")
    serialized = np.empty(len(examples), dtype=object)
    serialized[:] = [context + example.SerializeToString() for example in examples]
    return serialized


def check_classification(definition: meta_graph_pb2.SignatureDef) -> None:
    """Refuses a signature that does not classify.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(definition.outputs) not in (1, 2):
        raise invalid(f"Expected one or two output Tensors, found {len(definition.outputs)}")
    if _INPUT not in definition.inputs:
        raise invalid(f"No classification inputs found in SignatureDef: {definition}")
    if not {_CLASSES, _SCORES} & set(definition.outputs):
        raise invalid(
            "Expected classification signature outputs to contain at least one of "
            f'"{_CLASSES}" or "{_SCORES}". Signature was: {definition}'
        )


def check_regression(definition: meta_graph_pb2.SignatureDef) -> None:
    """Refuses a signature that does not give one number per example.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    if len(definition.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if len(definition.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if _INPUT not in definition.inputs:
        raise invalid(f"No regression inputs found in SignatureDef: {definition}")
    if _OUTPUT not in definition.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {definition}")


def classify(
    servable: Servable, signature_name: str, message: input_pb2.Input
) -> classification_pb2.ClassificationResult:
    """Runs a classification signature.

    Args:
      servable: the model.
      signature_name: a signature with the names above.
      message: the examples.

    Returns:
      One list of classes per example, each with a label, a score or both.

    Raises:
      RequestError: the signature does not exist or does not classify, there are no examples, or
        the model failed, or gave a label that is not UTF-8 text.
    """
    definition = _definition(servable, signature_name)
    check_classification(definition)
    examples = examples_of(message)
    names = [name for name in (_CLASSES, _SCORES) if name in definition.outputs]
    outputs = servable.run(signature_name, {_INPUT: examples}, names)
    for name, array in outputs.items():
        _check_classes(name, array, len(examples))
    widths = [array.shape[1] for array in outputs.values()]
    if len(set(widths)) > 1:
        raise invalid(
            "Tensors class and score should match in dim_size(1). "
            f"Got {outputs[_CLASSES].shape[1]} vs. {outputs[_SCORES].shape[1]}"
        )
    result = classification_pb2.ClassificationResult()
    for row in range(len(examples)):
        classes = result.classifications.add().classes
        for column in range(widths[0]):
            item = classes.add()
            if _CLASSES in outputs:
                item.label = _label(outputs[_CLASSES][row, column])
            if _SCORES in outputs:
                item.score = float(outputs[_SCORES][row, column])
    return result


def regress(
    servable: Servable, signature_name: str, message: input_pb2.Input
) -> regression_pb2.RegressionResult:
    """Runs a regression signature.

    Args:
      servable: the model.
      signature_name: a signature with the names above.
      message: the examples.

    Returns:
      One number per example.

    Raises:
      RequestError: the signature does not exist or does not give numbers, there are no examples,
        or the model failed.
    """
    check_regression(_definition(servable, signature_name))
    examples = examples_of(message)
    values = servable.run(signature_name, {_INPUT: examples})[_OUTPUT]
    if values.ndim not in (1, 2) or values.shape[1:] not in ((), (1,)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(values.shape)}"
        )
    if len(values) != len(examples):
        raise invalid(
            f"Input batch size did not match output batch size: {len(examples)} vs. {len(values)}"
        )
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_enum_name(values)}")
    result = regression_pb2.RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add(value=value)
    return result


def _definition(servable: Servable, signature_name: str) -> meta_graph_pb2.SignatureDef:
    if not servable.has_signature(signature_name):
        raise invalid(f"No signature was found with the name: {signature_name}")
    return servable.signature_definitions[signature_name]


def _check_classes(name: str, array: np.ndarray, rows: int) -> None:
    if array.ndim != 2:
        raise invalid(
            f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(array.shape)}"
        )
    is_strings = name == _CLASSES
    if array.dtype != np.dtype(object if is_strings else np.float32):
        expected = "DT_STRING" if is_strings else "DT_FLOAT"
        raise invalid(f"Expected {name} Tensor of {expected}. Got: {_enum_name(array)}")
    if len(array) != rows:
        raise invalid(f"Expected {name} output batch size of {rows}. Got: {len(array)}")


def _label(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise invalid(
            f"The class label {text!r} is not UTF-8 text, as a classification's labels must be"
        ) from error


def _enum_name(array: np.ndarray) -> str:
    data_type = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    return types_pb2.DataType.Name(data_type.as_datatype_enum)
