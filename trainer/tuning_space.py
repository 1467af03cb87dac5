"""The space of a search: from texts and sections to values that a scenario takes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from configs.effects import training_settings, value_at
from configs.experiment import SearchRange
from configs.loading import ConfigurationError, override_scenario, read_yaml, require_effect
from configs.scenario import Scenario
from trainer.tables import settings_asked

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Space = Mapping[str, SearchRange]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_BOUNDS = re.compile(rf"(log:)?({_NUMBER})\.\.({_NUMBER})(?:/({_NUMBER}))?")
_CHOICES = "choice:"


def split_space(words: Iterable[str]) -> tuple[list[str], dict[str, SearchRange]]:
    """Tells ranges from plain overrides.

    Args:
      words: texts `key=LOW..HIGH`, `key=LOW..HIGH/STEP`, `key=log:LOW..HIGH` and
        `key=choice:A,B,...`; everything else is an override.

    Returns:
      Overrides, and dotted key -> range.

    Raises:
      ConfigurationError: a range makes no sense, or a key is named twice.
    """
    overrides: list[str] = []
    space: dict[str, SearchRange] = {}
    for word in words:
        key, _, text = word.partition("=")
        value_range = _range_of(word, text)
        if value_range is None:
            overrides.append(word)
        elif key in space:
            raise ConfigurationError(f"'{key}' has two ranges; name one")
        else:
            space[key] = value_range
    return overrides, space


def _range_of(word: str, text: str) -> SearchRange | None:
    described: dict[str, object]
    if text.startswith(_CHOICES):
        described = {"choices": read_yaml(f"[{text.removeprefix(_CHOICES)}]", f"'{word}'")}
    elif bounds := _BOUNDS.fullmatch(text):
        log, low, high, step = bounds.groups()
        described = {"low": low, "high": high, "step": step, "log": log is not None}
    elif text.startswith("log:"):
        raise ConfigurationError(f"'{word}': write it as log:LOW..HIGH, e.g. log:1e-4..1e-2")
    else:
        return None
    try:
        return SearchRange.model_validate(described)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"'{word}': {reason}") from error


def check_space(scenario: Scenario, space: Space, fixed: Mapping[str, str] | None = None) -> None:
    """Makes sure that a scenario takes all of a space, one key at a time.

    Args:
      scenario: the scenario whose settings are searched.
      space: dotted key -> range.
      fixed: keys that must not be searched, and why.

    Raises:
      ConfigurationError: a key is unknown (the nearest one is named), must not be searched or has
        no influence on a training, or the scenario refuses a bound or a choice.
    """
    if not space:
        raise ConfigurationError(
            "there is nothing to search: name a range, e.g. 'training.learning_rate=log:1e-4..1e-2'"
            ", or experiment.tuning.space"
        )
    for key, searched in space.items():
        for taken, reason in (fixed or {}).items():
            if key == taken or key.startswith(f"{taken}.") or taken.startswith(f"{key}."):
                raise ConfigurationError(f"'{key}' cannot be searched: {reason}")
        settings = []
        for value in _extremes(scenario, key, searched):
            changed = override_scenario(scenario, {key: value})
            _require_same_data(scenario, changed, key)
            settings.append(training_settings(changed))
        if all(one == settings[0] for one in settings) and len(settings) > 1:
            raise ConfigurationError(f"'{key}' cannot be searched: no training depends on it")


def require_space_has_effect(scenario: Scenario, space: Space) -> None:
    """Makes sure that what is searched does something in a scenario.

    Raises:
      ConfigurationError: a setting has no effect, with any value of the others.
    """
    choices = {key: searched.choices or () for key, searched in space.items()}
    for key, searched in space.items():
        for value in _extremes(scenario, key, searched):
            require_effect(scenario, {key: value}, choices)


def _extremes(scenario: Scenario, key: str, searched: SearchRange) -> list[object]:
    if searched.choices is not None:
        return list(searched.choices)
    number = int if _is_whole(scenario, key, searched) else float
    return [number(bound) for bound in _bounds(searched)]


def _require_same_data(scenario: Scenario, changed: Scenario, key: str) -> None:
    before, after = settings_asked(scenario), settings_asked(changed)
    moved = changed.work_dir != scenario.work_dir
    if moved or any(after[step] != before[step] for step in before.keys() & after.keys()):
        raise ConfigurationError(
            f"'{key}' cannot be searched: it changes the data, which 'python -m preprocessing' "
            "builds; search over one data set at a time"
        )


def distributions(scenario: Scenario, space: Space) -> dict[str, BaseDistribution]:
    """What Optuna draws from; lists and other composed choices are drawn as JSON texts."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    distributions: dict[str, BaseDistribution] = {}
    for key, searched in space.items():
        if searched.choices is not None:
            distributions[key] = CategoricalDistribution(
                [_drawn(choice) for choice in searched.choices]
            )
            continue
        low, high = _bounds(searched)
        if _is_whole(scenario, key, searched):
            step = int(searched.step or 1)
            distributions[key] = IntDistribution(int(low), int(high), log=searched.log, step=step)
        else:
            distributions[key] = FloatDistribution(low, high, log=searched.log, step=searched.step)
    return distributions


def settings_of(space: Space, drawn: Mapping[str, Any]) -> dict[str, object]:
    """Dotted key -> value, of what Optuna drew."""
    settings = {}
    for key, searched in space.items():
        value = drawn[key]
        if searched.choices is not None:
            value = next(choice for choice in searched.choices if _drawn(choice) == value)
        settings[key] = list(value) if isinstance(value, tuple) else value
    return settings


def drawn_of(scenario: Scenario, space: Space) -> dict[str, Any] | None:
    """The scenario's own settings as Optuna would draw them; None if the space lacks one."""
    tree = scenario.model_dump(mode="json")
    drawn: dict[str, Any] = {}
    for key, searched in space.items():
        value = value_at(tree, key)
        if searched.choices is not None:
            texts = [_drawn(choice) for choice in searched.choices]
            if _drawn(value) not in texts:
                return None
            drawn[key] = _drawn(value)
            continue
        low, high = _bounds(searched)
        if not isinstance(value, int | float) or not low <= value <= high:
            return None
        if searched.step is not None:
            steps = (value - low) / searched.step
            if not math.isclose(steps, round(steps), abs_tol=1e-9):
                return None
        drawn[key] = value
    return drawn


def _is_whole(scenario: Scenario, key: str, searched: SearchRange) -> bool:
    """Whether numbers without a fraction are meant: the bounds are, and the field has no floats."""
    low, high = _bounds(searched)
    numbers = [low, high, *([] if searched.step is None else [searched.step])]
    if not all(number.is_integer() for number in numbers):
        return False
    taken = override_scenario(scenario, {key: int(low)}).model_dump(mode="json")
    return not isinstance(value_at(taken, key), float)


def _bounds(searched: SearchRange) -> tuple[float, float]:
    assert searched.low is not None and searched.high is not None
    return searched.low, searched.high


def _drawn(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value)
