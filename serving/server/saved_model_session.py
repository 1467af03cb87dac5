"""A SavedModel in a session of TensorFlow's C++ runtime, as TensorFlow Serving runs it.

Loaded as TensorFlow 2 functions, a model would be many more Python objects, and while these are
made and freed no request is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.protocol.messages import config_pb2, meta_graph_pb2

# `tf.saved_model.save` stores the initialization under this name; it is none to ask for.
_INITIALIZATION = "__saved_model_init_op"


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
          OSError: there is no `saved_model.pb`, or it cannot be read.
          RuntimeError: it has no graph for serving.
          tensorflow.errors.OpError: anything else of it is missing or damaged.
        """
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=_configuration())
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(
                self._session, [tf.saved_model.SERVING], str(folder)
            )
        self.definitions: dict[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)
        runnable = {
            name: definition
            for name, definition in self.definitions.items()
            if name != _INITIALIZATION
        }
        self.inputs = {name: _specifications(one.inputs) for name, one in runnable.items()}
        self.outputs = {name: _specifications(one.outputs) for name, one in runnable.items()}
        self._calls = {name: self._call(definition) for name, definition in runnable.items()}

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
        values = self._calls[signature_name](
            *[inputs[name] for name in self.inputs[signature_name]]
        )
        return dict(zip(self.outputs[signature_name], values, strict=True))

    def _call(self, definition: meta_graph_pb2.SignatureDef) -> Callable[..., list[np.ndarray]]:
        # `Session.run` refuses ranks that differ from the graph's placeholders, which the runtime
        # and TensorFlow Serving do not look at.
        options = config_pb2.CallableOptions(
            feed=[definition.inputs[name].name for name in sorted(definition.inputs)],
            fetch=[definition.outputs[name].name for name in sorted(definition.outputs)],
        )
        call: Callable[..., list[np.ndarray]] = self._session._make_callable_from_options(options)
        return call


def _configuration() -> config_pb2.ConfigProto:
    # Rewriting the graphs of all signatures takes longer than loading them, on processors that
    # answer requests meanwhile, and makes our models no faster.
    configuration = config_pb2.ConfigProto()
    configuration.graph_options.rewrite_options.disable_meta_optimizer = True
    return configuration


def _specifications(
    tensors: Mapping[str, meta_graph_pb2.TensorInfo],
) -> dict[str, tf.TensorSpec]:
    return {
        name: tf.TensorSpec(tf.TensorShape(tensors[name].tensor_shape), tensors[name].dtype)
        for name in sorted(tensors)
    }
