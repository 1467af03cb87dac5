"""One loaded version of a model: checked inputs, a session of the C++ runtime, tf.Examples.

Classification and regression on tf.Examples have fixed names of input and outputs: classification
reads `inputs` and gives `scores`, `classes` or both, each [batch, classes]; regression reads
`inputs` and gives `outputs`, [batch] or [batch, 1]. As in TensorFlow Serving's default settings,
the method name that is stored with a signature does not matter, because TensorFlow 2 always stores
the one for prediction. The rules are those of `classifier.cc` and `regressor.cc` in
https://github.com/tensorflow/serving.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf

from configs.tracing import NO_SPAN, current_span
from preprocessing.records.contract import ITEM_ID
from serving.c_api import (
    CApiError,
    CApiSession,
    callable_definitions,
    require_variables,
    serving_graph,
)
from serving.options import ServerOptions
from serving.protocol.messages import (
    STATUS_CODES,
    classification_pb2,
    config_pb2,
    example_pb2,
    input_pb2,
    meta_graph_pb2,
    model_pb2,
    regression_pb2,
    tensor_pb2,
)
from serving.protocol.tensors import STRING_BYTES, TensorFormatError, size_of
from serving.server.errors import RequestError, RequestTooLargeError, invalid

_DEFAULTS = ServerOptions()
_NUMBER_BYTES = 8
_TYPE_NAMES = {"float16": "half", "float32": "float", "float64": "double"}


@dataclasses.dataclass(frozen=True)
class RequestLimits:
    """How much work one request may ask for.

    A message of a few bytes can stand for tensors of gigabytes, and each candidate costs the model
    kilobytes more. So requests are measured by what their tensors take once they are made, before
    they are made.

    Every method raises `RequestTooLargeError`.

    Attributes:
      rows: rows of an input, tf.Examples, and candidates: values of `item_id`.
      input_bytes: all inputs together. Each string of a tensor counts as its longest, which may be
        meant to be repeated; lists of tf.Examples count as long as the longest of their feature.
    """

    rows: int = _DEFAULTS.max_request_rows
    input_bytes: int = _DEFAULTS.max_request_input_bytes

    def check_messages(self, messages: Mapping[str, tensor_pb2.TensorProto]) -> None:
        """Checks tensors that are not made yet.

        Raises:
          RequestError: INVALID_ARGUMENT; a shape is not complete or too large.
        """
        total = 0
        for name, message in messages.items():
            try:
                shape, num_bytes = size_of(message)
            except TensorFormatError as error:
                raise invalid(f"tensor parsing error: {name} ({error})") from error
            self._check_shape(name, shape)
            total += num_bytes
            self._check_bytes(total)

    def check_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Checks tensors that are made."""
        total = 0
        for name, array in arrays.items():
            self._check_shape(name, array.shape)
            longest = max(map(len, array.flat), default=0) if array.dtype == object else 0
            total += array.size * (longest + STRING_BYTES) if longest else array.nbytes
        self._check_bytes(total)

    def check_examples(self, message: input_pb2.Input) -> None:
        """Checks tf.Examples, each of which the common context completes."""
        kind = message.WhichOneof("kind")
        if kind is None:
            return
        examples = getattr(message, kind).examples
        self._check_rows("examples", len(examples))
        parts = list(examples)
        if kind == "example_list_with_context":
            parts.append(message.example_list_with_context.context)
        # Each feature is filled up to its longest list, of whichever example that is.
        if len(examples) * message.ByteSize() * STRING_BYTES > self.input_bytes:
            self._check_bytes(len(examples) * (STRING_BYTES + _bytes_of_a_row(parts)))

    def check_json(self, text: bytes) -> None:
        """Checks a document that is not parsed yet: each of its values takes a few bytes."""
        values = text.count(b",") + text.count(b"[") + text.count(b"{")
        self._check_bytes(values * STRING_BYTES)

    def _check_shape(self, name: str, shape: Sequence[int]) -> None:
        rows = math.prod(shape) if name == ITEM_ID else max(shape[:1], default=1)
        self._check_rows(name, rows)

    def _check_rows(self, name: str, rows: int) -> None:
        if rows > self.rows:
            raise RequestTooLargeError(
                f"{name}: {rows} rows or candidates are more than a request may have, {self.rows}; "
                "send several requests, or serve with a larger --max-request-rows"
            )

    def _check_bytes(self, num_bytes: int) -> None:
        if num_bytes > self.input_bytes:
            raise RequestTooLargeError(
                f"the request's inputs would take {num_bytes} bytes, more than {self.input_bytes}; "
                "send several requests, or serve with a larger --max-request-input-bytes"
            )


def _bytes_of_a_row(examples: Sequence[example_pb2.Example]) -> int:
    """What each of these examples takes when its lists are as long as the longest of theirs."""
    filled: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    for example in examples:
        for name, feature in example.features.feature.items():
            kind = feature.WhichOneof("kind")
            values = getattr(feature, kind).value if kind else ()
            size = STRING_BYTES if kind == "bytes_list" else _NUMBER_BYTES
            filled[name] = max(filled[name], len(values) * size)
            if kind == "bytes_list":
                texts[name] = max(texts[name], sum(map(len, values)))
    return filled.total() + texts.total()


def check_inputs(
    signature_name: str, expected: Mapping[str, tf.TensorSpec], sent: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Checks names and types.

    Args:
      signature_name: for the messages.
      expected: input name -> specification.
      sent: input name -> array; strings may be `str` or `bytes`.

    Returns:
      The arrays in the types that TensorFlow takes.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    check_input_names(signature_name, expected.keys(), sent.keys())
    # A session numbers its arguments by their tensors' names, which `tf.saved_model.save` makes of
    # the inputs' names.
    names = sorted(expected, key=lambda name: f"{name}:0")
    return {
        name: _checked(position, expected[name], sent[name]) for position, name in enumerate(names)
    }


def check_input_names(signature_name: str, expected: Set[str], sent: Set[str]) -> None:
    """Checks that all inputs are there, and no others.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    missing = expected - sent
    extra = sent - expected
    if len(missing) != len(extra):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({_set(sent)}) != len({_set(expected)}). Sent extra: {_set(extra)}. "
            f"Missing but required: {_set(missing)}."
        )
    if missing:
        name = min(missing)
        raise invalid(
            f"Signature input alias: {name}(feed name: {signature_name}_{name}:0) not found in "
            "request and no default value provided. Inputs expected to be in the request "
            f"{_set(sent)}, or default input alias set: "
        )


def type_name(data_type: tf.DType) -> str:
    """A data type's name in TensorFlow Serving's messages, for example `float`."""
    return _TYPE_NAMES.get(data_type.name, data_type.name)


def _checked(position: int, specification: tf.TensorSpec, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind in "SU":
        array = array.astype(object)
    sent_type = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    if sent_type != specification.dtype:
        raise _wrong_type(position, specification.dtype, type_name(sent_type))
    if sent_type == tf.string:
        for value in array.flat:
            if not isinstance(value, (str, bytes)):
                raise _wrong_type(position, specification.dtype, type(value).__name__)
    return array


def _wrong_type(position: int, expected: tf.DType, sent: str) -> RequestError:
    return invalid(f"Expects arg[{position}] to be {type_name(expected)} but {sent} is provided")


def _set(names: Collection[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"


class SavedModelSession:
    """The signatures of a SavedModel. Safe to use from many threads at once.

    Attributes:
      definitions: signature name -> its definition, as stored in `saved_model.pb`.
      inputs: signature name -> input name -> type and shape.
      outputs: likewise.
    """

    def __init__(self, folder: str | Path):
        """Loads the graph tagged for serving: restores variables, fills lookup tables.

        Raises:
          CommandError: there is no readable `saved_model.pb` with a graph for serving, or no
            checkpoint of its variables.
          tensorflow.errors.OpError: anything else of it is missing or damaged.
        """
        graph = serving_graph(Path(folder))
        require_variables(Path(folder), graph)
        self.definitions: dict[str, meta_graph_pb2.SignatureDef] = dict(graph.signature_def.items())
        runnable = callable_definitions(graph)
        self.inputs = {name: _specifications(one.inputs) for name, one in runnable.items()}
        self.outputs = {name: _specifications(one.outputs) for name, one in runnable.items()}
        try:
            self._session = CApiSession(folder, _configuration())
        except CApiError as error:
            raise _typed(error) from error

    def run(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          signature_name: which one.
          inputs: all of its inputs, of the types that it takes.

        Returns:
          Output name -> values; strings are `bytes` in arrays of objects.

        Raises:
          tensorflow.errors.OpError: the model cannot answer.
        """
        try:
            return self._session.run(signature_name, inputs)
        except CApiError as error:
            raise _typed(error) from error

    def __del__(self) -> None:
        # Nobody can run it any more. It is not there where it could not be loaded.
        if hasattr(self, "_session"):
            self._session.close()


def _typed(error: CApiError) -> tf.errors.OpError:
    error_type = tf.compat.v1.errors.exception_type_from_error_code(error.code)
    typed_error: tf.errors.OpError = error_type(None, None, error.reason)
    return typed_error


def _configuration() -> bytes:
    # A request is run by the thread that has it, but for the parts of large operations: most of a
    # ranking model are too small to be handed around. So a warm-up takes little from requests.
    configuration = config_pb2.ConfigProto(inter_op_parallelism_threads=-1)
    # Rewriting the graphs of all signatures takes longer than loading them, on processors that
    # answer requests meanwhile, and makes our models no faster.
    configuration.graph_options.rewrite_options.disable_meta_optimizer = True
    return configuration.SerializeToString()


def _specifications(
    tensors: Mapping[str, meta_graph_pb2.TensorInfo],
) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec(tf.TensorShape(tensors[name].tensor_shape), tensors[name].dtype)
        for name in sorted(tensors)
    }


_DEFAULT_SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
_MESSAGE_LIMIT = 4096
_GRAPH_NOTES = re.compile(r"\[\[(\{\{[^}]*\}\})+\]\]|\{\{(function_)?node [^}]*\}\}")


class Servable:
    """A SavedModel in memory. Safe to use from many threads at once.

    Every request on it holds a reference until it has been answered. So whoever drops the servable
    can tell by a weak reference when no request needs it any more, and free its engine then.

    Attributes:
      name: the model's name in requests.
      version: the version folder's number.
      engine: the model itself.
    """

    def __init__(self, name: str, version: int, folder: str | Path):
        """Loads the SavedModel in `folder`; raises whatever TensorFlow raises when it is broken."""
        self.name = name
        self.version = version
        self.engine = SavedModelSession(folder)

    @property
    def signature_definitions(self) -> dict[str, meta_graph_pb2.SignatureDef]:
        """Signature name -> its definition, as stored in `saved_model.pb`."""
        return self.engine.definitions

    def has_signature(self, signature_name: str) -> bool:
        """Whether requests can name the signature."""
        return signature_name in self.engine.inputs

    def input_specifications(self, signature_name: str) -> dict[str, tf.TensorSpec]:
        """Input name -> type and shape.

        Raises:
          RequestError: INVALID_ARGUMENT; the signature does not exist.
        """
        if not self.has_signature(signature_name):
            raise invalid(self.unknown_signature(signature_name))
        return self.engine.inputs[signature_name]

    def unknown_signature(self, signature_name: str) -> str:
        """The message for a signature that does not exist."""
        names = ",".join(sorted(self.engine.inputs))
        return (
            f'Serving signature "{signature_name}" was not found in model "{self.name}" version '
            f"{self.version}. It has {{{names}}}."
        )

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          signature_name: which one.
          inputs: input name -> array; strings may be `str` or `bytes`.
          output_filter: names of the outputs to return; all of them if empty.

        Returns:
          Output name -> array; strings are `bytes` in arrays of objects.

        Raises:
          RequestError: the signature, an input or an output name is wrong, or the model failed.
        """
        checked = check_inputs(signature_name, self.input_specifications(signature_name), inputs)
        span = current_span()
        if span is not NO_SPAN:
            rows = max((len(array) for array in checked.values() if array.ndim), default=0)
            span.tell({"reki.model.version": self.version, "reki.batch_size": rows})
            span.tell({"reki.signature": signature_name})
        names = _selected(list(self.engine.outputs[signature_name]), output_filter)
        outputs = self._execute(signature_name, checked)
        return {name: outputs[name] for name in names}

    def _execute(
        self, signature_name: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        try:
            return self.engine.run(signature_name, inputs)
        except tf.errors.OpError as error:
            raise RequestError(status_code_of(error), _plain_message(error.message)) from error
        except UnicodeDecodeError as error:
            # TensorFlow quotes the input it cannot parse, and fails on quoting bytes.
            message = bytes(error.object).decode(errors="replace")
            raise invalid(_plain_message(message)) from error


def signature_name_of(specification: model_pb2.ModelSpec) -> str:
    """The signature a request asks for; the default one if it names none."""
    return specification.signature_name or _DEFAULT_SIGNATURE


def status_code_of(error: tf.errors.OpError) -> grpc.StatusCode:
    """The status code of an error of TensorFlow."""
    return STATUS_CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)


def _selected(available: Sequence[str], output_filter: Sequence[str]) -> Sequence[str]:
    for position, name in enumerate(output_filter):
        if name not in available:
            raise invalid(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {{{','.join(available)}}}."
            )
        if name in output_filter[:position]:
            raise invalid(f"duplicate output tensor alias: {name}")
    return output_filter or available


def _plain_message(message: str) -> str:
    """Drops the names of nodes that TensorFlow writes beside the cause."""
    # TensorFlow quotes inputs, however long, and so does the answer to each request.
    cut = message if len(message) <= _MESSAGE_LIMIT else f"{message[:_MESSAGE_LIMIT]}..."
    return " ".join(_GRAPH_NOTES.sub("", cut).split()) or cut


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
    has_result = bool({_CLASSES, _SCORES} & set(definition.outputs))
    if set(definition.inputs) != {_INPUT} or len(definition.outputs) > 2 or not has_result:
        raise invalid(
            f'a signature that classifies has the input "{_INPUT}" and the outputs "{_CLASSES}", '
            f'"{_SCORES}" or both. {_described(definition)}'
        )


def check_regression(definition: meta_graph_pb2.SignatureDef) -> None:
    """Refuses a signature that does not give one number per example.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    if set(definition.inputs) != {_INPUT} or set(definition.outputs) != {_OUTPUT}:
        raise invalid(
            f'a signature that regresses has the input "{_INPUT}" and the output "{_OUTPUT}". '
            f"{_described(definition)}"
        )


def _described(definition: meta_graph_pb2.SignatureDef) -> str:
    return f"This one has {_set(definition.inputs)} and {_set(definition.outputs)}"


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
    widths = [array.shape[1:] for array in outputs.values()]
    for name, array in outputs.items():
        data_type = np.dtype(object if name == _CLASSES else np.float32)
        is_matrix = array.ndim == 2 and len(array) == len(examples) and array.shape[1:] == widths[0]
        if not is_matrix or array.dtype != data_type:
            raise _no_result(name, array, f"{len(examples)} rows of classes, equally many each")
    result = classification_pb2.ClassificationResult()
    for row in range(len(examples)):
        classes = result.classifications.add().classes
        for column in range(widths[0][0]):
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
    is_column = len(values.shape) in (1, 2) and values.shape[1:] in ((), (1,))
    if not is_column or len(values) != len(examples) or values.dtype != np.float32:
        raise _no_result(_OUTPUT, values, f"{len(examples)} floats")
    result = regression_pb2.RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add(value=value)
    return result


def _definition(servable: Servable, signature_name: str) -> meta_graph_pb2.SignatureDef:
    if not servable.has_signature(signature_name):
        raise invalid(f"No signature was found with the name: {signature_name}")
    return servable.signature_definitions[signature_name]


def _no_result(name: str, array: np.ndarray, expected: str) -> RequestError:
    data_type = "string" if array.dtype == object else type_name(tf.as_dtype(array.dtype))
    return invalid(
        f'the model gave "{name}" as {data_type} {list(array.shape)}, which should be {expected}'
    )


def _label(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise invalid(
            f"The class label {text!r} is not UTF-8 text, as a classification's labels must be"
        ) from error
