"""Ways to load a SavedModel into this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from serving.runtime.c_api import CApiSession
from serving.runtime.definitions import signature_definitions

Arrays = Mapping[str, np.ndarray]

Ask = Callable[[str, Arrays], Arrays]
"""Signature and inputs -> outputs; strings are bytes in arrays of objects."""

Ways = Mapping[str, Ask]
"""Name of a way to ask -> the way."""


@contextmanager
def python_loader(version_folder: Path) -> Iterator[Ways]:
    """`tf.saved_model.load`, as the local server uses it too."""
    model = tf.saved_model.load(str(version_folder))

    def ask(signature: str, inputs: Arrays) -> Arrays:
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        outputs = model.signatures[signature](**tensors)
        return {name: values.numpy() for name, values in outputs.items()}

    yield {"python": ask}


@contextmanager
def session_loader(version_folder: Path) -> Iterator[Ways]:
    """`tf.compat.v1.saved_model.load` in a session of TensorFlow 1."""
    definitions = signature_definitions(version_folder)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], str(version_folder))

        def ask(signature: str, inputs: Arrays) -> Arrays:
            definition = definitions[signature]
            fetched = {name: info.name for name, info in definition.outputs.items()}
            fed = {definition.inputs[name].name: values for name, values in inputs.items()}
            return session.run(fetched, fed)

        yield {"session": ask}


@contextmanager
def c_api_loader(version_folder: Path) -> Iterator[Ways]:
    """`TF_LoadSessionFromSavedModel`, by which TensorFlow Serving loads."""
    with CApiSession(version_folder) as session:
        yield {"c_api": session.run}
