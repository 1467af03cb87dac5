"""Classification and regression on serialized tf.Examples, by TensorFlow Serving's rules.

The names of a signature's input and outputs are fixed: classification reads `inputs` and gives
`scores`, `classes` or both, each [batch, classes]; regression reads `inputs` and gives `outputs`,
[batch] or [batch, 1]. As in TensorFlow Serving's default settings, the method name that is stored
with a signature does not matter, because TensorFlow 2 always stores the one for prediction.
"""

from __future__ import annotations

import numpy as np

from serving.protocol.messages import classification_pb2, input_pb2, regression_pb2
from serving.server.errors import invalid
from serving.server.servable import Servable

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
        raise invalid("The request's input has no examples.")
    serialized = np.empty(len(examples), dtype=object)
    serialized[:] = [context + example.SerializeToString() for example in examples]
    return serialized


def classify(
    servable: Servable, signature_name: str, examples: np.ndarray
) -> classification_pb2.ClassificationResult:
    """Runs a classification signature.

    Args:
      servable: the model.
      signature_name: a signature with the names above.
      examples: serialized tf.Examples, [batch].

    Returns:
      One list of classes per example, each with a label, a score or both.

    Raises:
      RequestError: the signature does not exist or is not one for classification.
    """
    outputs = _run(servable, signature_name, examples, {_CLASSES, _SCORES}, "classification")
    for name, array in outputs.items():
        _check_output(name, array, "object" if name == _CLASSES else "float32")
        if array.ndim != 2 or len(array) != len(examples):
            raise invalid(
                f'Output "{name}" must have shape [{len(examples)}, classes], '
                f"not {list(array.shape)}."
            )
    if len({array.shape for array in outputs.values()}) > 1:
        raise invalid(f'Outputs "{_CLASSES}" and "{_SCORES}" must have the same shape.')
    result = classification_pb2.ClassificationResult()
    width = next(iter(outputs.values())).shape[1]
    for row in range(len(examples)):
        classes = result.classifications.add().classes
        for column in range(width):
            item = classes.add()
            if _CLASSES in outputs:
                item.label = outputs[_CLASSES][row, column]
            if _SCORES in outputs:
                item.score = float(outputs[_SCORES][row, column])
    return result


def regress(
    servable: Servable, signature_name: str, examples: np.ndarray
) -> regression_pb2.RegressionResult:
    """Runs a regression signature.

    Args:
      servable: the model.
      signature_name: a signature with the names above.
      examples: serialized tf.Examples, [batch].

    Returns:
      One number per example.

    Raises:
      RequestError: the signature does not exist or is not one for regression.
    """
    values = _run(servable, signature_name, examples, {_OUTPUT}, "regression")[_OUTPUT]
    _check_output(_OUTPUT, values, "float32")
    if values.shape not in ((len(examples),), (len(examples), 1)):
        raise invalid(
            f'Output "{_OUTPUT}" must have shape [{len(examples)}] or [{len(examples)}, 1], '
            f"not {list(values.shape)}."
        )
    result = regression_pb2.RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add(value=value)
    return result


def _run(
    servable: Servable,
    signature_name: str,
    examples: np.ndarray,
    output_names: set[str],
    purpose: str,
) -> dict[str, np.ndarray]:
    input_names = list(servable.input_specifications(signature_name))
    if input_names != [_INPUT]:
        raise invalid(
            f'Signature "{signature_name}" is not one for {purpose}: its only input must be called '
            f'"{_INPUT}". It has {{{",".join(input_names)}}}.'
        )
    outputs = servable.run(signature_name, {_INPUT: examples})
    if not outputs or not outputs.keys() <= output_names:
        raise invalid(
            f'Signature "{signature_name}" is not one for {purpose}: its outputs must be among '
            f"{{{','.join(sorted(output_names))}}}. It has {{{','.join(outputs)}}}."
        )
    return outputs


def _check_output(name: str, array: np.ndarray, numpy_type: str) -> None:
    if array.dtype != np.dtype(numpy_type):
        expected = "string" if numpy_type == "object" else "float"
        raise invalid(f'Output "{name}" must be {expected}, not {array.dtype}.')
