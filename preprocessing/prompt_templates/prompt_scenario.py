"""A prompt scenario: the factors and templates of one kind of item, from a YAML file.

Five come with the project (`preprocessing/scenarios/*.yaml`); one's own is a file of that form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from configs.loading import ConfigurationError, read_yaml_file
from configs.section import Section
from preprocessing.prompt_templates.template import Template

_FOLDER = Path(__file__).parent.parent / "scenarios"
_KEY = "prompts.scenario"
_NOUNS = ("noun", "nouns")
_PLACEHOLDERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "item": ((*_NOUNS, "title", "factors"), ("title", "factors")),
    "user": ((*_NOUNS, "profile", "history", "factors"), ("history", "factors")),
    "history_entry": (("title", "rating", "opinion"), ("title",)),
    "history_entry_without_rating": (("title", "opinion"), ("title",)),
    "item_group": ((*_NOUNS, "titles", "factors"), ("titles", "factors")),
    "users_by_liked": ((*_NOUNS, "titles", "factors"), ("titles", "factors")),
    "users_by_disliked": ((*_NOUNS, "titles", "factors"), ("titles", "factors")),
}
"""Template -> (known placeholders, required placeholders)."""

_NUMBERS = ("number", "until")
_PLACEHOLDERS_OF_LINKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "about_item": ((*_NOUNS, "title"), ("title",)),
    "about_user": ((*_NOUNS, "profile", "history"), ("history",)),
    "item_group": ((*_NOUNS, "titles"), ("titles",)),
    "item": ((*_NOUNS, *_NUMBERS), _NUMBERS),
    "user": ((*_NOUNS, *_NUMBERS, "disliked"), (*_NUMBERS, "disliked")),
    "until": (("until",), ("until",)),
}


def _require_placeholders(
    section: Section, placeholders: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
) -> None:
    for name, (allowed, required) in placeholders.items():
        try:
            Template(getattr(section, name)).require(allowed, required)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


class Noun(Section):
    """What an item is called."""

    singular: str = Field(min_length=1, description="{noun}, for example 'movie'")
    plural: str = Field(min_length=1, description="{nouns}, for example 'movies'")


class Factors(Section):
    """What a prompt asks about."""

    item: tuple[str, ...] = Field(min_length=1, description="factors of items and item groups")
    user: tuple[str, ...] = Field(min_length=1, description="factors of users and user groups")

    @field_validator("item", "user")
    @classmethod
    def _factors_are_texts(cls, factors: tuple[str, ...]) -> tuple[str, ...]:
        if any(not factor.strip() for factor in factors):
            raise ValueError("a factor is empty")
        if len(set(factors)) < len(factors):
            raise ValueError("a factor stands there twice")
        return factors


class Templates(Section):
    """The prompts."""

    item: str = Field(description="individual prompt of an item")
    user: str = Field(description="individual prompt of a user")
    history_entry: str = Field(description="one interaction in a user's history")
    history_entry_without_rating: str = Field(
        "{title} ({opinion})",
        description="the same where data.interactions.columns has no rating: a label, or nothing "
        "but the fact that the user met the item",
    )
    item_group: str = Field(description="collective prompt of a group of items")
    users_by_liked: str = Field(description="collective prompt of users grouped by what they like")
    users_by_disliked: str = Field(
        description="collective prompt of users grouped by what they dislike"
    )

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Templates:
        _require_placeholders(self, _PLACEHOLDERS)
        return self


class LinksQuestion(Section):
    """Which items go together: names, asked for alone or after a factorization prompt."""

    about_item: str = Field(
        "The {noun} is {title}.", description="which item it is about, where it is asked alone"
    )
    about_user: str = Field(
        "{profile}Given a user's {noun} rating history: {history}.",
        description="which user it is about, where it is asked alone",
    )
    item_group: str = Field(
        "Answer the question below for each of these {nouns}, each by itself: {titles}.",
        description="which group of items it is about",
    )
    item: str = Field(
        "Name {number} other {nouns}{until} that people who love this {noun} most often love too. "
        "Think of real audiences (taste, mood, era, quality, subculture, maker, audience overlap), "
        "not only of the same kind. Best first.",
        description="the question about an item",
    )
    user: str = Field(
        "Name {number} other {nouns}{until} that this user would most likely love, best first, and "
        "{disliked} {nouns} that this user would likely consider but not like. Go by the user's "
        "own tastes; name none that are in the history.",
        description="the question about a user",
    )
    until: str = Field(
        " that were there by {until}",
        description="follows {nouns} where knowledge.answers.SOURCE.links.until is set",
    )

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> LinksQuestion:
        _require_placeholders(self, _PLACEHOLDERS_OF_LINKS)
        return self


class PromptScenario(Section):
    """Factors and templates of one kind of item."""

    name: str = Field(description="a short name for people")
    noun: Noun
    factors: Factors
    title_display: tuple[str, ...] = Field(
        ("{title}",),
        min_length=1,
        description="how an item is named; placeholders are {title} and names of item attributes. "
        "The first whose values an item has is used",
    )
    leading_articles: tuple[str, ...] = Field(
        (), description="articles that the catalogue puts at the end: 'Fly, The' is 'The Fly'"
    )
    templates: Templates
    links: LinksQuestion = LinksQuestion()

    @field_validator("title_display")
    @classmethod
    def _titles_are_shown(cls, displays: tuple[str, ...]) -> tuple[str, ...]:
        for display in displays:
            template = Template(display)
            template.require(template.names, ["title"])
        if Template(displays[-1]).names != ("title",):
            raise ValueError("the last one must need nothing but {title}")
        return displays


def bundled_scenarios() -> list[str]:
    """Names of the scenarios that come with the project."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def prompt_scenario_path(name: str | None) -> Path:
    """The file of a scenario.

    Args:
      name: name of a bundled scenario, or the path of a YAML file.

    Raises:
      ConfigurationError: there is no such scenario.
    """
    bundled = ", ".join(bundled_scenarios())
    if name is None:
        raise ConfigurationError(
            f"{_KEY} is missing: write one of {bundled}, or the path of a YAML file"
        )
    path = _FOLDER / f"{name}.yaml" if name in bundled_scenarios() else Path(name)
    if not path.is_file():
        raise ConfigurationError(
            f"{_KEY}: there is no scenario '{name}'; write one of {bundled}, or the path of a "
            f"YAML file (relative paths start at {Path.cwd()})"
        )
    return path


def load_prompt_scenario(path: Path) -> PromptScenario:
    """Reads a scenario.

    Raises:
      ConfigurationError: the file is not UTF-8, not YAML, or not a scenario; the message names the
        file, the key and what is wrong.
    """
    tree = read_yaml_file(path)
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f"{path}: expected keys such as 'noun:', 'factors:' and 'templates:' at the top level"
        )
    try:
        return PromptScenario.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(path, dict(problem)) for problem in error.errors()]
        raise ConfigurationError("\n".join(problems)) from error


def _explain(path: Path, problem: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{path}: key '{key}' is missing"
    if problem["type"] == "extra_forbidden":
        return f"{path}: unknown key '{key}'"
    return f"{path}: {key}: {problem['msg'].removeprefix('Value error, ')}"
