"""What every layer shares: registered package, checks of options, precision, initial values."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

PACKAGE = "reki"


def positive_count(**options: int) -> None:
    """Options that are whole numbers from 1."""
    for name, value in options.items():
        if not _is_count(value):
            raise _refused("{} must be a positive whole number", **{name: value})


def not_negative_count(**options: int) -> None:
    """Options that are whole numbers from 0."""
    for name, value in options.items():
        if not _is_count(value, smallest=0):
            raise _refused("{} must be a whole number from 0", **{name: value})


def positive(**options: float) -> None:
    """Options that are finite numbers above 0."""
    for name, value in options.items():
        if not (_is_finite(value) and value > 0):
            raise _refused("{} must be positive", **{name: value})


def not_negative(**options: float) -> None:
    """Options that are finite numbers from 0."""
    for name, value in options.items():
        if not (_is_finite(value) and value >= 0):
            raise _refused("{} must not be negative", **{name: value})


def one_of(choices: Sequence[str], **options: str) -> None:
    """Options that are one of a few words."""
    for name, value in options.items():
        if value not in choices:
            raise _refused(f"{{}} must be one of {tuple(choices)}", **{name: value})


def positive_widths(**options: Sequence[int]) -> None:
    """Options that are lists of positive whole numbers; a list may be empty."""
    for name, value in options.items():
        if not (isinstance(value, list | tuple) and all(_is_count(width) for width in value)):
            raise _refused("{} must be a list of positive whole numbers", **{name: value})


def at_least_one_width(**options: Sequence[int]) -> None:
    """Options that are lists of positive whole numbers, of which there must be one."""
    positive_widths(**options)
    for name, value in options.items():
        if not value:
            raise _refused("{} must hold at least one width", **{name: value})


def dividing_heads(num_heads: int, **widths: int) -> None:
    """`num_heads`, a positive whole number that divides every one of these widths."""
    positive_count(num_heads=num_heads)
    if any(width % num_heads for width in widths.values()):
        raise _refused(f"{{}} must divide {' and '.join(widths)}", num_heads=num_heads, **widths)


def share_below_one(**options: float) -> None:
    """Options that are numbers of [0, 1)."""
    for name, value in options.items():
        if not (_is_finite(value) and 0 <= value < 1):
            raise _refused("{} must be in [0, 1)", **{name: value})


def _is_count(value: object, smallest: int = 1) -> bool:
    return not isinstance(value, bool) and isinstance(value, int) and value >= smallest


def _is_finite(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _refused(rule: str, **received: object) -> ValueError:
    """The error of a rule about the first option received."""
    values = ", ".join(f"{name}={value!r}" for name, value in received.items())
    return ValueError(f"{rule.format(next(iter(received)))}. Received: {values}")


class ConfiguredLayer(tf.keras.layers.Layer):
    """A layer that keeps each argument of its constructor as an attribute of the same name.

    `get_config` reads them there, so that a layer is saved and made again without code of its own.
    """

    def get_config(self) -> dict[str, object]:
        """The constructor's arguments, lists in the place of tuples, as JSON has them."""
        arguments = inspect.signature(type(self).__init__).parameters.keys() - {"self", "kwargs"}
        values = {name: getattr(self, name) for name in sorted(arguments)}
        return super().get_config() | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Layers made inside compute as a Keras policy says.

    Weights stay float32 under the mixed policies, and so do knowledge vectors, match and prior. A
    model keeps the policy that it was built with; one that is built again from a run folder, to be
    evaluated or exported, computes in float32.

    Args:
      policy: "float32", "mixed_bfloat16" or "mixed_float16".
    """
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


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
