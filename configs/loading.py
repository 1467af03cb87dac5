"""Reading a scenario file, applying dotted overrides, and saying clearly what is wrong with it."""

from __future__ import annotations

import difflib
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from configs.scenario import Scenario
from configs.section import Section

AnySection = typing.TypeVar("AnySection", bound=Section)


class ConfigurationError(Exception):
    """The configuration is wrong; the message names the file, the key and the fix."""


def load_scenario(path: str | Path, overrides: Iterable[str] = ()) -> Scenario:
    """Reads a scenario from YAML and applies overrides.

    Args:
      path: the YAML file.
      overrides: texts `dotted.key=value`; the value is read as YAML, so `model.match=none`,
        `training.seed=2` and `knowledge.sources=[item]` all work.

    Returns:
      The frozen scenario.

    Raises:
      ConfigurationError: the file is missing or not YAML, a key is unknown, or a value is not
        allowed.
    """
    return load_section(Scenario, path, overrides)


def load_section(
    section: type[AnySection], path: str | Path, overrides: Iterable[str] = ()
) -> AnySection:
    """Reads what one YAML file describes and applies overrides.

    Args:
      section: what the file describes.
      path: the YAML file.
      overrides: as of `load_scenario`.

    Returns:
      The frozen section.

    Raises:
      ConfigurationError: the file is missing or not YAML, a key is unknown, or a value is not
        allowed.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{path}: expected sections or keys at the top level")
    assignments = dict(parse_override(override) for override in overrides)
    return _section_from_tree(section, tree, assignments, str(path))


def scenario_from_tree(
    tree: Mapping[str, object],
    assignments: Mapping[str, object] | None = None,
    where: str = "configuration",
) -> Scenario:
    """Builds a scenario from nested dictionaries.

    Args:
      tree: what a YAML file holds.
      assignments: dotted key -> value, applied over the tree.
      where: what an error message calls the tree.

    Raises:
      ConfigurationError: a key is unknown or a value is not allowed.
    """
    return _section_from_tree(Scenario, tree, assignments or {}, where)


def _section_from_tree(
    section: type[AnySection],
    tree: Mapping[str, object],
    assignments: Mapping[str, object],
    where: str,
) -> AnySection:
    merged = json.loads(json.dumps(tree))
    for key, value in assignments.items():
        _assign(merged, key, value)
    try:
        return section.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, where, section)) from error


def override_scenario(scenario: Scenario, assignments: Mapping[str, object]) -> Scenario:
    """Returns a copy of the scenario with dotted keys set to new values.

    Raises:
      ConfigurationError: a key is unknown or a value is not allowed.
    """
    return scenario_from_tree(
        scenario.model_dump(mode="json"), assignments, where=f"scenario '{scenario.name}'"
    )


def save_scenario(scenario: Scenario, path: str | Path) -> None:
    """Writes the resolved scenario as YAML; `load_scenario` reads it back to an equal one."""
    tree = scenario.model_dump(mode="json")
    Path(path).write_text(
        yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


def parse_override(text: str) -> tuple[str, object]:
    """Splits `dotted.key=value` and reads the value as YAML.

    Raises:
      ConfigurationError: there is no `=`, no key, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigurationError(
            f"override '{text}': write it as dotted.key=value, e.g. model.backbone=din"
        )
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"override '{text}': the value is not valid YAML: {error}"
        ) from error


def config_hash(*sections: BaseModel) -> str:
    """SHA-256 over sections; equal settings give equal hashes, whatever their order."""
    document = [section.model_dump(mode="json") for section in sections]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def known_keys() -> list[str]:
    """All dotted keys of a scenario, in file order; keys of free-form maps are written `<name>`."""
    return list(described_keys())


def described_keys(model: type[BaseModel] = Scenario, prefix: str = "") -> dict[str, str]:
    """All dotted keys of a section and what they mean; "" where the name says it all."""
    keys = {}
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        section, is_map = _section_type(field.annotation)
        if section is None:
            keys[key] = field.description or ""
        else:
            keys.update(described_keys(section, f"{key}.<name>." if is_map else f"{key}."))
    return keys


def _section_type(annotation: object) -> tuple[type[BaseModel] | None, bool]:
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


def _assign(tree: dict[str, object], dotted_key: str, value: object) -> None:
    parts = dotted_key.split(".")
    node: dict[str, object] = tree
    for part in parts[:-1]:
        child = node.get(part)
        if child is None:
            child = node[part] = {}
        if not isinstance(child, dict):
            raise ConfigurationError(f"override '{dotted_key}': '{part}' is a value, not a section")
        node = child
    node[parts[-1]] = value


def _explain(error: ValidationError, where: str, section: type[Section]) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown key '{key}'.{_suggestion(problem['loc'], section)}")
        elif problem["type"] == "missing":
            lines.append(f"{where}: key '{key}' is missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            received = problem["input"]
            shown = (
                f" Received: {received!r}"
                if isinstance(received, (str, int, float, list, tuple))
                else ""
            )
            lines.append(f"{where}: {key}: {message}.{shown}" if key else f"{where}: {message}")
    return "\n".join(lines)


def _suggestion(location: tuple[int | str, ...], section: type[Section]) -> str:
    keys = list(described_keys(section))
    written = ".".join(str(part) for part in location)
    siblings = _sibling_names(location, section)
    close_siblings = difflib.get_close_matches(str(location[-1]), siblings, n=1, cutoff=0.6)
    if close_siblings:
        nearest = ".".join([*(str(part) for part in location[:-1]), close_siblings[0]])
        return f" Did you mean '{nearest}'?"
    same_name = [key for key in keys if key.rsplit(".", 1)[-1] == location[-1]]
    close = same_name or difflib.get_close_matches(written, keys, n=1, cutoff=0.0)
    return f" Did you mean '{close[0]}'?" if close else ""


def _sibling_names(location: tuple[int | str, ...], section: type[Section]) -> list[str]:
    found: type[BaseModel] | None = section
    parts = list(location[:-1])
    while parts and found is not None:
        field = found.model_fields.get(str(parts.pop(0)))
        found, is_map = _section_type(field.annotation) if field is not None else (None, False)
        if is_map and parts:
            parts.pop(0)
    return list(found.model_fields) if found is not None else []
