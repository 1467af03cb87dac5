"""One loaded version of a model: the inference core that both transports use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf

from serving.protocol.messages import meta_graph_pb2, saved_model_pb2
from serving.server.errors import RequestError, invalid
from serving.server.input_checks import check_inputs

DEFAULT_SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
_GRAPH_NOTES = re.compile(
    r"\[\[(\{\{[^}]*\}\})+\]\]|\{\{(function_)?node [^}]*\}\}|\[Op:\w+\]|Graph execution error:"
)
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Servable:
    """A SavedModel in memory. Safe to use from many threads at once.

    Attributes:
      name: the model's name in requests.
      version: the version folder's number.
      signature_definitions: signature name -> its definition, as stored in `saved_model.pb`.
    """

    def __init__(self, name: str, version: int, folder: str | Path):
        """Loads the SavedModel in `folder`; raises whatever TensorFlow raises when it is broken."""
        self.name = name
        self.version = version
        self.signature_definitions = read_signature_definitions(folder)
        # The functions below refer weakly to the model's variables and tables, so the model is
        # kept.
        self._model = tf.saved_model.load(str(folder))
        self._functions = dict(self._model.signatures.items())

    def has_signature(self, signature_name: str) -> bool:
        """Whether requests can name the signature."""
        return signature_name in self._functions

    def input_specifications(self, signature_name: str) -> dict[str, tf.TensorSpec]:
        """Input name -> type and shape.

        Raises:
          RequestError: INVALID_ARGUMENT; the signature does not exist.
        """
        if signature_name not in self._functions:
            raise invalid(self.unknown_signature(signature_name))
        _, specifications = self._functions[signature_name].structured_input_signature
        return specifications

    def unknown_signature(self, signature_name: str) -> str:
        """The message for a signature that does not exist."""
        known = ",".join(sorted(self._functions))
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
        function = self._functions[signature_name]
        names = _selected(sorted(function.structured_outputs), output_filter)
        try:
            outputs = function(**{name: tf.constant(array) for name, array in checked.items()})
            return {name: np.asarray(outputs[name].numpy()) for name in names}
        except tf.errors.OpError as error:
            code = _STATUS_CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
            raise RequestError(code, _plain_message(error.message)) from error
        except UnicodeDecodeError as error:
            # TensorFlow quotes the input it cannot parse, and fails on quoting bytes.
            message = bytes(error.object).decode(errors="replace")
            raise invalid(_plain_message(message)) from error


def read_signature_definitions(folder: str | Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Reads the signature definitions of a SavedModel, which loading the model does not keep.

    Raises:
      OSError: `saved_model.pb` cannot be read.
      ValueError: it has no graph for serving.
      google.protobuf.message.DecodeError: it is damaged.
    """
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((Path(folder) / "saved_model.pb").read_bytes())
    for graph in saved_model.meta_graphs:
        if tf.saved_model.SERVING in graph.meta_info_def.tags:
            return dict(graph.signature_def.items())
    raise ValueError(f"saved_model.pb has no graph tagged '{tf.saved_model.SERVING}'")


def _selected(available: Sequence[str], output_filter: Sequence[str]) -> Sequence[str]:
    for position, name in enumerate(output_filter):
        if name not in available:
            expected = ",".join(available)
            raise invalid(f'Output "{name}" is not in the signature. It has {{{expected}}}.')
        if name in output_filter[:position]:
            raise invalid(f'Output "{name}" is asked for twice.')
    return output_filter or available


def _plain_message(message: str) -> str:
    """Drops the traces of the graph that TensorFlow wraps around the cause."""
    _, _, cause = message.rpartition("<stack traces unavailable>")
    return " ".join(_GRAPH_NOTES.sub("", cause).split()) or message
