"""What options have an effect on, and what is said about those that have none.

Fields declare it themselves (`configs.section`: `TakesEffect`, `Role` and their like). A user's
configuration has layers: the file, and the overrides over it. An option is refused where it is
useless in the layer that sets it: what a file says about an adapter is no mistake when an override,
or an arm of an experiment, takes another adapter.
"""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from configs.section import (
    AxisOf,
    EntryTakesEffect,
    OfSources,
    ReadsAtMost,
    Role,
    TakesEffect,
    split_names,
)

Condition = TakesEffect | OfSources | ReadsAtMost
AnyCondition = typing.TypeVar("AnyCondition", bound=Condition)
Declaration = typing.TypeVar("Declaration")
Alternatives = Mapping[str, Sequence[object]]
"""Dotted key -> further values that the setting takes, in arms or in a search."""

_SPELLED = {None: "null", True: "true", False: "false"}


@dataclass(frozen=True)
class Useless:
    """An option without effect.

    Attributes:
      key: its dotted key.
      reason: what is wrong and the fix.
    """

    key: str
    reason: str


def useless_options(
    section: type[BaseModel],
    resolved: Mapping[str, Any],
    layer: Mapping[str, Any],
    beside: Sequence[Mapping[str, Any]] = (),
    alternatives: Alternatives | None = None,
) -> list[Useless]:
    """The options of a layer that are set to another value than the default, and do nothing.

    Args:
      section: what the configuration describes.
      resolved: the whole configuration, as `model_dump(mode="json")` gives it.
      layer: the part of it that is looked at, nested.
      beside: other whole configurations in which the option may have its effect.
      alternatives: values of single settings with which it may have it.
    """

    def settings_of(key: str) -> list[Any]:
        return [
            *(value_at(tree, key) for tree in (resolved, *beside)),
            *(alternatives or {}).get(key, ()),
        ]

    useless: list[Useless] = []
    for key, default, conditions in _options(section, layer, "", ()):
        value = value_at(resolved, key)
        if value == default or value is None:
            continue
        reasons = (_uselessness(key, value, condition, settings_of) for condition in conditions)
        reason = next(filter(None, reasons), None)
        if reason is not None:
            useless.append(Useless(key, reason))
    return useless


def alternatives_of(experiment: Any) -> dict[str, list[object]]:
    """Values that settings take in the arms of an experiment and in its search.

    Args:
      experiment: a `configs.experiment.Experiment`; axes that nobody wrote do not count.
    """
    alternatives: dict[str, list[object]] = {}
    for axis, setting in declared(type(experiment), AxisOf):
        if axis in experiment.model_fields_set:
            values = getattr(experiment, axis)
            values = values.values() if isinstance(values, Mapping) else values
            alternatives.setdefault(setting.key, []).extend(values)
    for arm in experiment.arms.values():
        for key, value in arm.overrides.items():
            for leaf, part in _leaves(key, value):
                alternatives.setdefault(leaf, []).append(part)
    for key, searched in experiment.tuning.space.items():
        alternatives.setdefault(key, []).extend(searched.choices or ())
    return alternatives


def declared(
    section: type[BaseModel], kind: type[Declaration]
) -> Iterator[tuple[str, Declaration]]:
    """What the fields of a section and of its sections declare.

    Args:
      section: the section; what is inside maps of sections by name is left out.
      kind: of declaration, for example `Role`.

    Yields:
      Dotted key and declaration.
    """
    for name, field in section.model_fields.items():
        yield from (
            (name, annotation) for annotation in field.metadata if isinstance(annotation, kind)
        )
        inner, is_map = section_type(field.annotation)
        if inner is not None and not is_map:
            yield from ((f"{name}.{key}", annotation) for key, annotation in declared(inner, kind))


def keys_of(section: type[BaseModel], role: Role) -> list[str]:
    """Dotted keys of the fields of a section, and of its sections, that have a role."""
    return [key for key, role_of_key in declared(section, Role) if role_of_key is role]


def training_settings(scenario: BaseModel) -> dict[str, Any]:
    """The settings of a scenario that a trained model depends on.

    Which other runs stand beside it makes no difference, nor what is written while it is trained.
    """
    settings = scenario.model_dump(mode="json")
    return without(settings, keys_of(type(scenario), Role.NO_TRAINING))


def without(tree: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """A copy of a nested configuration that lacks some dotted keys."""
    copied = copy.deepcopy(dict(tree))
    for key in keys:
        *sections, name = key.split(".")
        node: Any = copied
        for part in sections:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(name, None)
    return copied


def value_at(tree: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key, None if there is none; behind "*" the list of all of a map."""
    node: Any = tree
    parts = key.split(".")
    for number, part in enumerate(parts, start=1):
        if not isinstance(node, Mapping):
            return None
        if part == "*":
            return [value_at(one, ".".join(parts[number:])) for one in node.values()]
        node = node.get(part)
    return node


def section_type(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    """The section that a field holds, and whether it holds several by name; None for a value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is dict and isinstance(arguments[1], type) and issubclass(arguments[1], BaseModel):
        return arguments[1], True
    if origin in (typing.Union, types.UnionType):
        for argument in arguments:
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                return argument, False
    return None, False


def _options(
    section: type[BaseModel], tree: Mapping[str, Any], prefix: str, above: tuple[Condition, ...]
) -> Iterator[tuple[str, object, tuple[Condition, ...]]]:
    """Key, default and conditions of every option that stands in a nested configuration."""
    for name, value in tree.items():
        field = section.model_fields.get(name)
        if field is None:
            continue
        key = f"{prefix}{name}"
        conditions = (*above, *_conditions(field, prefix))
        inner, is_map = section_type(field.annotation)
        if inner is None:
            yield key, _default(field), conditions
            for entry in field.metadata:
                if isinstance(entry, EntryTakesEffect) and entry.name in _entries(value):
                    condition = _placed(entry.condition, f"{key}.")
                    yield f"{key}.{entry.name}", entry.default, (*above, condition)
        elif is_map and isinstance(value, Mapping):
            if conditions and value:
                yield key, {}, conditions
            for part, described in value.items():
                if isinstance(described, Mapping):
                    yield from _options(inner, described, f"{key}.{part}.", ())
        elif isinstance(value, Mapping):
            yield from _options(inner, value, f"{key}.", conditions)


def _entries(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _conditions(field: FieldInfo, prefix: str) -> Iterator[Condition]:
    for condition in field.metadata:
        if isinstance(condition, Condition):
            yield _placed(condition, prefix)


def _placed(condition: AnyCondition, prefix: str) -> AnyCondition:
    """The condition with keys of settings beside the field, or around it, spelled out."""
    name = condition.key.lstrip(".")
    if name != condition.key:
        sections = prefix.split(".")[: -(len(condition.key) - len(name))]
        condition = replace(condition, key=".".join([*sections, name]))
    if isinstance(condition, TakesEffect | OfSources) and condition.or_else is not None:
        condition = replace(condition, or_else=_placed(condition.or_else, prefix))
    return condition


def _default(field: FieldInfo) -> object:
    return (
        None
        if field.is_required()
        else to_jsonable_python(field.get_default(call_default_factory=True))
    )


def _leaves(key: str, value: object) -> Iterator[tuple[str, object]]:
    yield key, value
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _leaves(f"{key}.{name}", part)


def _uselessness(
    key: str, value: Any, condition: Condition, settings_of: Callable[[str], list[Any]]
) -> str | None:
    """Why an option does nothing under a condition; None where it has its effect."""
    settings = settings_of(condition.key)
    if isinstance(condition, ReadsAtMost):
        is_met = any(value <= setting for setting in settings)
        return None if is_met else _too_much(key, value, condition, settings[0])
    if isinstance(condition, OfSources):
        held = (
            settings_of(f"knowledge.answers.{name}.{condition.holding}")
            for name in _named(settings)
        )
        is_met = any((part is None) is condition.lacking for parts in held for part in parts)
    else:
        is_met = any(map(condition.is_met, settings))
    if not is_met and condition.or_else is not None:
        is_met = any(map(condition.or_else.is_met, settings_of(condition.or_else.key)))
    if is_met:
        return None
    if isinstance(condition, OfSources):
        return _no_such_source(key, condition, settings[0])
    return _no_effect(key, condition, settings[0])


def _named(settings: Iterable[object]) -> Iterator[object]:
    """Names in settings that hold lists of names, or texts as `split_names` reads them."""
    for setting in settings:
        names = split_names(setting) if isinstance(setting, str) else setting
        yield from names if isinstance(names, list | tuple) else ()


def _no_such_source(key: str, condition: OfSources, setting: object) -> str:
    return (
        f"{key} has no effect with {condition.key}={spelled(setting)}; leave it out, or take a "
        f"source that has {'no ' if condition.lacking else ''}knowledge.answers.SOURCE."
        f"{condition.holding}"
    )


def _no_effect(key: str, condition: TakesEffect, setting: object) -> str:
    ways = [condition, *([condition.or_else] if condition.or_else is not None else [])]
    alternatives = " or ".join(
        f"{way.key} {_listed(way.values)}" if way.values else f"another {way.key}" for way in ways
    )
    return (
        f"{key} has no effect with {condition.key}={spelled(setting)}; leave it out, or take "
        f"{alternatives}"
    )


def _too_much(key: str, value: object, condition: ReadsAtMost, setting: object) -> str:
    return (
        f"{key}={spelled(value)} has no effect beyond {condition.key}={spelled(setting)}, all "
        f"that an example holds; set it to {spelled(setting)} at most, or raise {condition.key}"
    )


def _listed(values: Sequence[object]) -> str:
    *first, last = [spelled(value) for value in values]
    return f"{', '.join(first)} or {last}" if first else last


def spelled(value: object) -> str:
    """A value as YAML has it on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {spelled(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(spelled, value))}]"
    if value is None or isinstance(value, bool):
        return _SPELLED[value]
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
