"""The signatures of a SavedModel, read without loading it."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from configs.command_line import CommandError


def signature_definitions(version_folder: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Signature -> its definition, of the graph for serving; TensorFlow's own are left out.

    Raises:
      CommandError: see `serving_graph`.
    """
    return callable_definitions(serving_graph(version_folder))


def callable_definitions(
    graph: meta_graph_pb2.MetaGraphDef,
) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Signature -> its definition, without the initialization that TensorFlow stores among them."""
    return {
        name: definition
        for name, definition in graph.signature_def.items()
        if not name.startswith("__")
    }


def serving_graph(version_folder: Path) -> meta_graph_pb2.MetaGraphDef:
    """The graph for serving.

    Raises:
      CommandError: the folder has no readable SavedModel with such a graph.
    """
    path = version_folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString(path.read_bytes())
    except Exception as error:  # Of the file system or of the message, which has no public base.
        raise CommandError(f"{path} cannot be read ({error}); export again") from error
    for graph in saved_model.meta_graphs:
        if tf.saved_model.SERVING in graph.meta_info_def.tags:
            return graph
    raise CommandError(f"{path} has no graph tagged '{tf.saved_model.SERVING}'; export again")


def require_variables(version_folder: Path, graph: meta_graph_pb2.MetaGraphDef) -> None:
    """Makes sure that the graph's variables are there, which the C++ runtime loads without.

    Raises:
      CommandError: there is no checkpoint, and the graph has variables.
    """
    index = version_folder / "variables" / "variables.index"
    if not index.exists() and any(node.op == "VarHandleOp" for node in graph.graph_def.node):
        raise CommandError(f"{index} is missing; export again, or wait for the end of the copy")
