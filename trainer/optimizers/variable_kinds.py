"""Which variables are embedding tables and which are dense kernels.

A layer says so by the name of the weight: embedding tables end in "embedding", as those of this
project do, or "embeddings", as those of `tf.keras.layers.Embedding` do; kernels have "kernel" in
their name, here and in Keras. A table by another name is trained all the same, by the optimizer of
all other variables.
"""

from __future__ import annotations

import re

import tensorflow as tf

_PART = re.compile(r"/part_\d+$")


def is_embedding_table(variable: tf.Variable) -> bool:
    """Whether a variable holds one vector a row, of which a batch looks up some."""
    return variable.shape.rank == 2 and _own_name(variable).endswith(("embedding", "embeddings"))


def is_dense_kernel(variable: tf.Variable) -> bool:
    """Whether a variable holds matrices that inputs are multiplied by."""
    return (
        variable.shape.rank >= 2
        and "kernel" in _own_name(variable)
        and not is_embedding_table(variable)
    )


def _own_name(variable: tf.Variable) -> str:
    # Under parameter servers a large table is cut into parts, "item_embedding/part_0" and so on.
    return _PART.sub("", variable.name.split(":")[0]).split("/")[-1]
