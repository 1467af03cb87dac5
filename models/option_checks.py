"""Checks of a constructor's options, so that a wrong one is named before anything is built.

Every check takes options as keyword arguments and raises ValueError that states the rule and what
was received.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


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


def top_network_options(top_units: Sequence[int], dropout_rate: float) -> None:
    """The two options that every model has: widths, and a share of [0, 1)."""
    positive_widths(top_units=top_units)
    if not (_is_finite(dropout_rate) and 0 <= dropout_rate < 1):
        raise _refused("{} must be in [0, 1)", dropout_rate=dropout_rate)


def _is_count(value: object, smallest: int = 1) -> bool:
    return not isinstance(value, bool) and isinstance(value, int) and value >= smallest


def _is_finite(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _refused(rule: str, **received: object) -> ValueError:
    """The error of a rule about the first option received."""
    values = ", ".join(f"{name}={value!r}" for name, value in received.items())
    return ValueError(f"{rule.format(next(iter(received)))}. Received: {values}")
