"""The base of all sections of a configuration."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys, no infinite numbers and no NaN.

    Defaults are validated like input.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _free_values_are_finite(cls, value: object) -> object:
        """Looks where any value may stand; fields of numbers refuse by their own type."""
        for path, number in _numbers_within(value):
            if not math.isfinite(number):
                named = f"{path}: " if path else ""
                raise ValueError(f"{named}expected a finite number")
        return value


SECRET = "secret"
"""Type of the errors whose input is not shown."""


def _variable_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise PydanticCustomError(
            SECRET,
            "expected the name of an environment variable (letters, digits and _), never the key",
        )
    return name


EnvironmentVariable = Annotated[str, AfterValidator(_variable_name)]
"""Names where a secret is. What cannot be a name, as most keys, is refused and not shown."""


@dataclass(frozen=True)
class TakesEffect:
    """Says when an option has an effect; stands in the `Annotated` type of its field.

    On a section it holds for all options of the section. An option without effect that a user sets
    to anything but its default is refused (`configs.effects`).

    Attributes:
      key: dotted key of the setting that decides; one that begins with "." stands in the same
        section as the field, one with ".." in the section around that, and "*" is all of a map.
      values: the option has an effect where the setting is one of these, or a list with one of
        them; empty for all.
      unless: it has none where the setting is one of these.
      or_else: another way to have one.
    """

    key: str
    values: tuple[object, ...] = ()
    unless: tuple[object, ...] = ()
    or_else: TakesEffect | None = None

    def is_met(self, setting: object) -> bool:
        """Whether the option has an effect beside this setting, `or_else` apart."""
        held = setting if isinstance(setting, list | tuple) else [setting]
        if self.values and not any(value in self.values for value in held):
            return False
        return not any(setting == value for value in self.unless)


@dataclass(frozen=True)
class EntryTakesEffect:
    """Says when an entry of a map of free values has an effect; stands at the map's field.

    Attributes:
      name: of the entry.
      default: what it is if left out.
      condition: when it has an effect; a key that begins with "." is another entry.
    """

    name: str
    default: object
    condition: TakesEffect


@dataclass(frozen=True)
class ReadsAtMost:
    """Says that an option asks for no more than another setting provides; see `TakesEffect`.

    Attributes:
      key: dotted key of the other setting.
    """

    key: str


@dataclass(frozen=True)
class OfSources:
    """Says that an option is about knowledge sources of one kind; see `TakesEffect`.

    Attributes:
      key: dotted key of the setting that names the sources; one that begins with "." stands in the
        same section as the field.
      holding: what the section of such a source in `knowledge.answers` sets.
      lacking: the option is about sources that do not set it instead.
      or_else: another way to have an effect.
    """

    key: str
    holding: str
    lacking: bool = False
    or_else: TakesEffect | None = None


class Role(enum.Enum):
    """What depends on an option; stands in the `Annotated` type of its field.

    On a section it holds for all options of the section.
    """

    NO_RECORDS = "no example, link or vector that preprocessing writes depends on it"
    LATER = "it came later, and work from before is as with its default"
    NO_TRAINING = "a trained model does not depend on it"
    INPUTS = "the prepared features and labels of examples depend on it"
    INPUT_NAMES = "they depend on the names that it maps, not on their values"


@dataclass(frozen=True)
class NamesRun:
    """Says that an option is a part of its own in the name of a run; see `TakesEffect`.

    Attributes:
      part: the part, with the value in the place of "{}".
      always: whether it is there where the option has its default, too.
      details: dotted key of what is spelled behind the value, unless that is "none".
    """

    part: str = "{}"
    always: bool = False
    details: str | None = None


@dataclass(frozen=True)
class FixedInArms:
    """Says that no arm of an experiment may set an option or section; see `TakesEffect`.

    Attributes:
      reason: why.
    """

    reason: str


@dataclass(frozen=True)
class AxisOf:
    """Says that an option of an experiment has values of another setting; see `TakesEffect`.

    They stand in a list, or in a map by name.

    Attributes:
      key: dotted key of the setting.
    """

    key: str


@dataclass(frozen=True)
class Metavar:
    """Says what help shows in the place of an option's value; see `TakesEffect`.

    Attributes:
      text: it, for example "FILE.json".
    """

    text: str


@dataclass(frozen=True)
class OneOf:
    """Says that a command takes only one of several options; see `TakesEffect`.

    Attributes:
      group: name that these options share.
    """

    group: str


_A_YEAR = 31_536_000
Seconds = Annotated[float, Field(ge=0, le=_A_YEAR), Metavar("S")]
PositiveSeconds = Annotated[float, Field(gt=0, le=_A_YEAR), Metavar("S")]


def named_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses a name that stands there twice; for validators of lists of names.

    Raises:
      ValueError: a name stands there twice.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"'{name}' is named {names.count(name)} times; name it once")
    return names


_LONGEST_FILE_NAME = 200
Names = TypeVar("Names", bound=Collection[str])


def variable_names(names: Names) -> Names:
    """Refuses what cannot name a file or a variable of an export; for validators of such names.

    Raises:
      ValueError: a name has other characters, begins with a hyphen, or is too long.
    """
    return _matching(names, r"\w[\w-]*", "files and of variables in exports", "'_' and '-'")


def input_names(names: Names) -> Names:
    """Refuses what cannot name an input of a served model; for validators of such names.

    Raises:
      ValueError: a name has other characters, or is too long.
    """
    return _matching(names, r"\w+", "files and of inputs of the served model", "and '_'")


def _matching(names: Names, pattern: str, use: str, marks: str) -> Names:
    for name in names:
        if not re.fullmatch(pattern, name, re.ASCII) or len(name) > _LONGEST_FILE_NAME:
            raise ValueError(
                f"{name[:_LONGEST_FILE_NAME]!r} becomes the name of {use}; write at most "
                f"{_LONGEST_FILE_NAME} English letters, digits, {marks}"
            )
    return names


def split_names(names: object) -> object:
    """Reads "item, user" as ("item", "user"); for validators that run before the type's own.

    Raises:
      ValueError: nothing stands where names should.
    """
    if names is None:
        raise ValueError("name at least one, or write [] for none where that is allowed")
    if isinstance(names, str):
        return tuple(name.strip() for name in names.split(",") if name.strip())
    return names


def _numbers_within(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Fractional numbers in nested lists and dictionaries, each with its dotted place."""
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers_within(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers_within(part, path)
