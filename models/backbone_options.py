"""Options of a backbone's own: the keyword arguments of its constructor."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints

import tensorflow as tf

_FROM_CONFIGURATION = frozenset({"self", "kwargs", "top_units", "dropout_rate"})
_KINDS: dict[object, tuple[str, str]] = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a word", "words"),
}


def own_options(backbone: type[tf.keras.layers.Layer]) -> dict[str, object]:
    """The options of a backbone beside `top_units` and `dropout_rate`, with their defaults."""
    parameters = inspect.signature(backbone.__init__).parameters
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in _FROM_CONFIGURATION
    }


def checked_options(
    name: str, backbone: type[tf.keras.layers.Layer], options: Mapping[str, object]
) -> dict[str, object]:
    """Options from a configuration as arguments of the constructor.

    Values are checked against the annotations of the constructor: bool, int, float, str, a
    `Sequence` of these, and any of them or None. Other annotations are left to the constructor, as
    is whether a value makes sense.

    Args:
      name: registry name of the backbone.
      backbone: its class.
      options: `model.backbone_options`.

    Raises:
      ValueError: the backbone has no such option, or a value is of another kind than its
        annotation.
    """
    known = own_options(backbone)
    annotations = get_type_hints(backbone.__init__)
    checked = {}
    for key, value in options.items():
        if key not in known:
            there = f"there are {', '.join(known)}" if known else "it has none"
            close = difflib.get_close_matches(key, known, n=1)
            hint = f". Did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"model.backbone_options: '{name}' has no '{key}'; {there}{hint}")
        annotation = annotations.get(key)
        try:
            checked[key] = _of_kind(value, annotation)
        except TypeError:
            raise ValueError(
                f"model.backbone_options.{key} must be {_described(annotation)}. "
                f"Received: {value!r}"
            ) from None
    return checked


def _of_kind(value: Any, kind: Any) -> object:
    """The value as its annotation has it; TypeError if it is of another kind."""
    if get_origin(kind) is types.UnionType:
        return None if value is None else _of_kind(value, _other_than_none(kind))
    if get_origin(kind) is Sequence:
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(_of_kind(element, get_args(kind)[0]) for element in value)
    if kind is float and type(value) is int:
        return float(value)
    if kind in _KINDS and type(value) is not kind:
        raise TypeError
    return value


def _other_than_none(kind: Any) -> Any:
    """X of `X | None`."""
    return next(part for part in get_args(kind) if part is not types.NoneType)


def _described(kind: Any) -> str:
    if get_origin(kind) is types.UnionType:
        return f"{_described(_other_than_none(kind))} or null"
    if get_origin(kind) is Sequence:
        (element,) = get_args(kind)
        return f"a list of {_KINDS[element][1]}" if element in _KINDS else "a list"
    return _KINDS[kind][0]
