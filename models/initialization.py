"""Initial values as the authors of REKI have them."""

from __future__ import annotations

import re

import numpy as np
import tensorflow as tf

_TABLES = re.compile(r"(kernel|embedding)(:0)?$")


def published_initial_values(model: tf.Module, seed: int) -> None:
    """Draws every dense kernel and embedding from N(0, 2 / (fan in + fan out)).

    The normal distribution is not truncated, unlike that of Keras' Glorot normal (the authors'
    published code of REKI, arXiv 2408.10520). The kernels of experts have
    these values by themselves, biases are zero, and what starts at zero on purpose stays.

    Args:
      model: a model whose weights exist.
      seed: of the draws.
    """
    random = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        if weight.shape.rank != 2 or not _TABLES.search(weight.name) or not weight.numpy().any():
            continue
        deviation = np.sqrt(2.0 / sum(weight.shape))
        weight.assign(random.normal(scale=deviation, size=weight.shape).astype(np.float32))
