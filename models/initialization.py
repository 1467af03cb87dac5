"""Initial values as the authors of REKI have them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

_TABLES = re.compile(r"(?<!recurrent_)(kernel|embedding)(:0)?$")


@runtime_checkable
class FusedKernels(Protocol):
    """A layer whose kernels hold several matrices, for one product in place of many."""

    def fused_fans(self) -> Iterable[tuple[tf.Variable, int, int]]:
        """Each such kernel with the fans, in and out, of one of its matrices; all are alike."""


def published_initial_values(model: tf.Module, seed: int) -> None:
    """Draws every dense kernel and embedding from N(0, 2 / (fan in + fan out)).

    The normal distribution is not truncated, unlike that of Keras' Glorot normal (the authors'
    published code of REKI, arXiv 2408.10520). Fans are those of the separate matrices of that code,
    also where a kernel here holds several (`FusedKernels`, and the gates of Keras' recurrent
    cells). The kernels of experts have these values by themselves, recurrent kernels stay
    orthogonal, biases are zero, and what starts at zero on purpose stays.

    Args:
      model: a model whose weights exist.
      seed: of the draws.
    """
    random = np.random.default_rng(seed)
    fused = {
        kernel.ref(): fan_in + fan_out
        for part in (model, *model.submodules)
        for kernel, fan_in, fan_out in _fused_fans(part)
    }
    for weight in model.trainable_variables:
        if weight.shape.rank != 2 or not _TABLES.search(weight.name) or not weight.numpy().any():
            continue
        deviation = np.sqrt(2.0 / fused.get(weight.ref(), sum(weight.shape)))
        weight.assign(random.normal(scale=deviation, size=weight.shape).astype(np.float32))


def _fused_fans(part: tf.Module) -> Iterable[tuple[tf.Variable, int, int]]:
    if isinstance(part, tf.keras.layers.GRUCell):
        return [(part.kernel, part.kernel.shape[0], part.units)]
    return part.fused_fans() if isinstance(part, FusedKernels) else []
