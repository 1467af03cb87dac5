"""A SavedModel in a session of TensorFlow's C++ runtime, as TensorFlow Serving runs it.

Loaded by Python, as a graph or as functions, a model would hold Python's lock for tens of
milliseconds, in which no request is answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.protocol.messages import config_pb2, meta_graph_pb2
from serving.runtime.c_api import CApiError, CApiSession
from serving.runtime.definitions import (
    callable_definitions,
    require_variables,
    serving_graph,
)


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
    found: tf.errors.OpError = error_type(None, None, error.reason)
    return found


def _configuration() -> bytes:
    # A request is run by the thread that has it, but for the parts of large operations: most of a
    # ranking model are too small to be handed around. So a load of low priority takes little from
    # requests.
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
