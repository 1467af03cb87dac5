"""One loaded version of a model: the inference core that both transports use."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf

from serving.protocol.messages import meta_graph_pb2, model_pb2
from serving.protocol.status_codes import STATUS_CODES
from serving.server import metrics
from serving.server.batch_merging import is_mergeable
from serving.server.batching import Batching
from serving.server.errors import RequestError, invalid
from serving.server.input_checks import check_inputs
from serving.server.saved_model_session import SavedModelSession

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
        self._batching: Batching | None = None
        self._mergeable: frozenset[str] = frozenset()

    def merge_requests(self, batching: Batching) -> None:
        """Runs requests in batches from now on, for the signatures whose rows are independent."""
        padded = batching.parameters.pad_variable_length_inputs
        self._mergeable = frozenset(
            name
            for name, inputs in self.engine.inputs.items()
            if is_mergeable(inputs, self.engine.outputs[name], padded)
        )
        self._batching = batching

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
        known = ",".join(sorted(self.engine.inputs))
        return (
            f'Serving signature "{signature_name}" was not found in model "{self.name}" version '
            f"{self.version}. It has {{{known}}}."
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
        names = _selected(list(self.engine.outputs[signature_name]), output_filter)
        execute = functools.partial(self._execute, signature_name)
        with metrics.timed_model(self.name):
            if self._batching is None or signature_name not in self._mergeable:
                outputs = execute(checked)
            else:
                outputs = self._batching.run((self, signature_name), execute, checked)
        return {name: outputs[name] for name in names}

    def _execute(
        self, signature_name: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        try:
            with metrics.timed_graph_run():
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
