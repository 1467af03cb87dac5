"""Reading a scenario file, applying dotted overrides, and saying clearly what is wrong with it."""

from __future__ import annotations

import contextlib
import datetime
import difflib
import json
import re
import stat
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from configs.effects import (
    Alternatives,
    alternatives_of,
    section_type,
    useless_options,
    without,
)
from configs.scenario import Scenario
from configs.section import SECRET, Section

AnySection = typing.TypeVar("AnySection", bound=Section)

_DEEPEST = 40
_MOST_VALUES = 1_000_000
_MOST_BITS = 63
_LONGEST_SHOWN = 200
_KINDS: dict[type, str] = {bool: "true or false", float: "a fraction", type(None): "null"}
YAML_FAULTS = (
    yaml.YAMLError,
    RecursionError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
)
"""What PyYAML raises: besides its own errors, those of a tag whose text it takes on trust."""


class ConfigurationError(Exception):
    """The configuration is wrong; the message names the file, the key and the fix."""


def load_scenario(
    path: str | Path,
    overrides: Iterable[str] = (),
    searched: Alternatives | None = None,
    for_all_arms: bool = False,
) -> Scenario:
    """Reads a user's scenario from YAML and applies overrides.

    An option that does nothing is refused where the file or an override sets it to another value
    than its default. What the file says for a setting that an override changes is no mistake, and
    is left out of the result; nor is what serves only an arm of the file's experiment, or a value
    that is searched.

    Args:
      path: the YAML file.
      overrides: texts `dotted.key=value`; the value is read as YAML, so `model.match=none`,
        `training.seed=2` and `knowledge.sources=[item]` all work.
      searched: dotted key -> values that a search will set.
      for_all_arms: whether the overrides are meant for all arms of the experiment as well.

    Returns:
      The frozen scenario.

    Raises:
      ConfigurationError: the file is missing or not YAML, a key is unknown, a value is not
        allowed, or an option has no effect.
    """
    where = str(path)
    tree, assignments = _read(path, overrides)
    scenario = _section_from_tree(Scenario, tree, assignments, where)
    searched = searched or {}
    arm_settings = _joined(searched, alternatives_of(scenario.experiment))
    resolved = scenario.model_dump(mode="json")

    overridden = _tree_of(assignments)
    useless_settings = useless_options(
        Scenario, resolved, overridden, (), arm_settings if for_all_arms else searched
    )
    file_settings = without(tree, assignments)
    before, previous_arm_settings = [], arm_settings
    if assignments:
        with contextlib.suppress(ConfigurationError):  # The file alone may be incomplete.
            alone = _section_from_tree(Scenario, tree, {}, where)
            before = [alone.model_dump(mode="json")]
            previous_arm_settings = _joined(arm_settings, alternatives_of(alone.experiment))
    useless_settings += useless_options(
        Scenario, resolved, file_settings, before, previous_arm_settings
    )
    if useless_settings:
        lines = []
        for useless in useless_settings:
            blamed = _blamed(useless.reason, useless.key, where, assignments)
            lines.append(
                ("override " if blamed.startswith("override ") else blamed) + useless.reason
            )
        raise ConfigurationError("\n".join(lines))
    if not before:
        return scenario
    replaced = [
        useless.key
        for useless in useless_options(Scenario, resolved, file_settings, (), arm_settings)
    ]
    return _section_from_tree(Scenario, without(tree, replaced), assignments, where)


def load_section(
    section: type[AnySection], path: str | Path, overrides: Iterable[str] = ()
) -> AnySection:
    """Reads what one YAML file describes and applies overrides.

    A scenario is read as `save_scenario` wrote it, with all options, those without effect too.

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
    tree, assignments = _read(path, overrides)
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


def override_scenario(scenario: Scenario, assignments: Mapping[str, object]) -> Scenario:
    """Returns a copy of the scenario with dotted keys set to new values.

    Raises:
      ConfigurationError: a key is unknown or a value is not allowed.
    """
    return scenario_from_tree(
        scenario.model_dump(mode="json"), assignments, where=f"scenario '{scenario.name}'"
    )


def require_effect(
    scenario: Scenario,
    assignments: Mapping[str, object],
    alternatives: Alternatives | None = None,
) -> None:
    """Makes sure that settings do something in a scenario.

    Args:
      scenario: the scenario in which they are set.
      assignments: dotted key -> value, of the settings in question.
      alternatives: dotted key -> further values, with which they may have their effect.

    Raises:
      ConfigurationError: a setting has no effect.
    """
    resolved = override_scenario(scenario, assignments).model_dump(mode="json")
    layer = _tree_of(assignments)
    useless_settings = useless_options(Scenario, resolved, layer, alternatives=alternatives)
    if useless_settings:
        raise ConfigurationError("\n".join(useless.reason for useless in useless_settings))


def with_effective_options(
    scenario: Scenario, alternatives: Alternatives | None = None
) -> Scenario:
    """A copy in which options without effect have their defaults.

    Args:
      scenario: the scenario.
      alternatives: dotted key -> further values, with which options may have their effect.
    """
    resolved = scenario.model_dump(mode="json")
    useless_settings = useless_options(Scenario, resolved, resolved, alternatives=alternatives)
    keys = [useless.key for useless in useless_settings]
    return scenario_from_tree(without(resolved, keys)) if keys else scenario


def save_scenario(scenario: Scenario, path: str | Path) -> None:
    """Writes the resolved scenario as YAML; `load_section` reads it back to an equal one."""
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
            f"override '{_shortened(text)}': write it as dotted.key=value, e.g. model.backbone=din"
        )
    where = f"override '{_shortened(text)}'"
    try:
        return key.strip(), read_yaml(value, where)
    except ConfigurationError as error:
        raise ConfigurationError(
            str(error).replace("not valid YAML", "the value is not valid YAML", 1)
        ) from error


def read_yaml_file(path: str | Path) -> object:
    """Reads a YAML file; see `read_yaml`.

    Raises:
      ConfigurationError: it is no regular file, cannot be read, or is not UTF-8 text or YAML.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ConfigurationError(
                f"{path}: is {_kind_of_file(mode)}; name a regular file with YAML text"
            )
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(nothing_there(path)) from error
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error
    return read_yaml(text, str(path))


def nothing_there(path: str | Path) -> str:
    """The message for a path that does not exist."""
    return f"there is no file or folder '{path}' (relative paths start at {Path.cwd()})"


def require_there(path: str | Path) -> None:
    """Makes sure that a path exists.

    Raises:
      ConfigurationError: it does not.
    """
    if not Path(path).exists():
        raise ConfigurationError(nothing_there(path))


def read_yaml(text: str, where: str) -> object:
    """Reads YAML that holds what JSON can hold: texts, numbers, true, false, null, lists, maps.

    Args:
      text: the YAML.
      where: what an error message calls it.

    Raises:
      ConfigurationError: it is not YAML, or holds something else, a date for example.
    """
    try:
        document = _SafeLoader(text).get_single_data()
    except RecursionError as error:
        raise ConfigurationError(f"{where}: {_TOO_DEEP}") from error
    except YAML_FAULTS as error:
        raise ConfigurationError(f"{where}: not valid YAML: {error}") from error
    return _Plain(where).value(document, "", 0)


class _SafeLoader(yaml.SafeLoader):
    """Refuses what YAML 1.1 would take for something else than what was meant.

    Of a key that stands twice it would keep the last one, so that a section at the end of a file
    would discard the one above; 010 would be 8, 12:30 would be 750, and 1e-3 a text.
    """

    def compose_mapping_node(self, anchor: typing.Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    raise _refused_yaml(
                        f"key '{_shortened(key.value)}' stands in line {lines[key.value]} already; "
                        "join the two",
                        key,
                    )
                lines[key.value] = key.start_mark.line + 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        digits = node.value.lstrip("+-").replace("_", "")
        if ":" in digits or (digits.startswith("0") and digits.isdigit() and digits != "0"):
            raise _refused_yaml(
                f"'{_shortened(node.value)}' would be a number to another base; for a text, write "
                "it in quotes, and a number without leading zeros and colons",
                node,
            )
        return super().construct_yaml_int(node)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        if ":" in node.value:
            raise _refused_yaml(
                f"'{_shortened(node.value)}' would be a number to the base of 60; for a text, "
                "write it in quotes",
                node,
            )
        return super().construct_yaml_float(node)


_SafeLoader.add_constructor("tag:yaml.org,2002:int", _SafeLoader.construct_yaml_int)
_SafeLoader.add_constructor("tag:yaml.org,2002:float", _SafeLoader.construct_yaml_float)
# YAML 1.1 asks for a point and a sign of the exponent, and reads 1e-3 as a text.
_SafeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), [*"-+0123456789"]
)


def _refused_yaml(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_TOO_DEEP = f"lists and maps stand more than {_DEEPEST} deep in each other; write it flatter"


class _Plain:
    """Copies what YAML held, and refuses what JSON cannot hold."""

    def __init__(self, where: str):
        self._where = where
        self._values = 0

    def value(self, value: object, path: str, depth: int) -> typing.Any:
        self._values += 1
        if depth > _DEEPEST:
            raise ConfigurationError(f"{self._where}: {_TOO_DEEP}")
        if self._values > _MOST_VALUES:
            raise ConfigurationError(
                f"{self._where}: holds more than {_MOST_VALUES:,} values, aliases (*name) written "
                "out; write it shorter"
            )
        if isinstance(value, Mapping):
            return {
                self._key(key, path): self.value(
                    part, f"{path}.{key}" if path else str(key), depth + 1
                )
                for key, part in value.items()
            }
        if isinstance(value, list):
            return [self.value(part, path, depth + 1) for part in value]
        return self._scalar(value, path)

    def _key(self, key: object, path: str) -> str:
        if isinstance(key, str | int) and not isinstance(key, bool):
            return str(self._scalar(key, path))
        raise self._refusal(path, key, " as a key")

    def _scalar(self, value: object, path: str) -> object:
        if isinstance(value, str):
            if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
                raise ConfigurationError(
                    f"{self._where}: {_placed(path)}holds a NUL or half a surrogate pair, which "
                    "no file name and no UTF-8 text can hold; take it out"
                )
            return value
        if isinstance(value, bool) or value is None or isinstance(value, float):
            return value
        if isinstance(value, int):
            if value.bit_length() > _MOST_BITS:
                raise ConfigurationError(
                    f"{self._where}: {_placed(path)}holds a whole number of more than "
                    f"{_MOST_BITS} bits; write a smaller one, or quotes around it for a text"
                )
            return value
        raise self._refusal(path, value, "")

    def _refusal(self, path: str, value: object, role: str) -> ConfigurationError:
        kind = "a date" if isinstance(value, datetime.date) else f"a {type(value).__name__} value"
        kind = _KINDS.get(type(value), kind)
        return ConfigurationError(
            f"{self._where}: {_placed(path)}holds {kind}{role}; for a text, write it in quotes"
        )


def _placed(path: str) -> str:
    return f"{_shortened(path)}: " if path else ""


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _kind_of_file(mode: int) -> str:
    for is_kind, kind in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if is_kind(mode):
            return kind
    return "a device"


def _read(
    path: str | Path, overrides: Iterable[str]
) -> tuple[dict[str, object], dict[str, object]]:
    tree = read_yaml_file(path)
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{path}: expected sections or keys at the top level")
    return tree, dict(parse_override(override) for override in overrides)


def _joined(first: Alternatives, second: Alternatives) -> Alternatives:
    return {key: [*first.get(key, ()), *second.get(key, ())] for key in {**first, **second}}


def _tree_of(assignments: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, value in assignments.items():
        _assign(tree, key, value)
    return tree


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
        raise ConfigurationError(_explain(error, where, section, assignments)) from error


def described_keys(model: type[BaseModel] = Scenario, prefix: str = "") -> dict[str, str]:
    """All dotted keys of a section and what they mean; "" where the name says it all.

    They come in file order; keys of free-form maps are written `<name>`.
    """
    keys = {}
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        section, is_map = section_type(field.annotation)
        if section is None:
            keys[key] = field.description or ""
        else:
            keys.update(described_keys(section, f"{key}.<name>." if is_map else f"{key}."))
    return keys


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


def did_you_mean(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """A sentence that asks whether one of some words was meant; "" where none is near.

    Args:
      word: what was written.
      words: what may be written; of those that begin with `word` the first one is the nearest.
      cutoff: least similarity of other words (`difflib`).
    """
    names = list(words)
    near = [name for name in names if word and name.startswith(word)]
    near = near or difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    return f" Did you mean '{near[0]}'?" if near else ""


def _explain(
    error: ValidationError,
    where: str,
    section: type[Section],
    assignments: Mapping[str, object],
) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        blamed = _blamed(problem["msg"], key, where, assignments)
        if problem["type"] == "extra_forbidden":
            lines.append(f"{blamed}unknown key '{key}'.{_suggestion(problem['loc'], section)}")
        elif problem["type"] == "missing":
            lines.append(f"{blamed}key '{key}' is missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            received = problem["input"]
            choices = re.findall(r"'([^']*)'", str(problem.get("ctx", {}).get("expected", "")))
            shown = (
                f" Received: {_shortened(repr(received))}"
                if isinstance(received, (str, int, float, list, tuple))
                and problem["type"] != SECRET
                else ""
            )
            nearest = did_you_mean(str(received), choices)
            shown += f".{nearest}" if nearest else ""
            placed = "" if not key or blamed == f"override {key}: " else f"{key}: "
            lines.append(f"{blamed}{placed}{message}.{shown}" if key else f"{blamed}{message}")
    return "\n".join(lines)


def _blamed(message: str, key: str, where: str, assignments: Mapping[str, object]) -> str:
    """Where an error line begins: with the file, or with the override that is at fault.

    That is one that sets the key, or that a message about several settings names.
    """
    for assigned in assignments:
        sets_it = f"{key}.".startswith(f"{assigned}.") or f"{assigned}.".startswith(f"{key}.")
        if sets_it if key else re.search(rf"\b{re.escape(assigned)}\b", message):
            return f"override {assigned}: "
    return f"{where}: "


def _suggestion(location: tuple[int | str, ...], section: type[Section]) -> str:
    keys = list(described_keys(section))
    written = ".".join(str(part) for part in location)
    siblings = _sibling_names(location, section)
    beside = ".".join(str(part) for part in location[:-1])
    nearest = did_you_mean(str(location[-1]), siblings)
    if nearest:
        return nearest.replace("'", f"'{beside}.", 1) if beside else nearest
    same_name = [key for key in keys if key.rsplit(".", 1)[-1] == location[-1]]
    return did_you_mean(same_name[0] if same_name else written, same_name or keys, cutoff=0.0)


def _sibling_names(location: tuple[int | str, ...], section: type[Section]) -> list[str]:
    sibling: type[BaseModel] | None = section
    parts = list(location[:-1])
    while parts and sibling is not None:
        field = sibling.model_fields.get(str(parts.pop(0)))
        sibling, is_map = section_type(field.annotation) if field is not None else (None, False)
        if is_map and parts:
            parts.pop(0)
    return list(sibling.model_fields) if sibling is not None else []
