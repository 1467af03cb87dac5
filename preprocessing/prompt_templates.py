"""How prompts are worded: templates, scenario files of factors and templates, names of items.

Five scenarios come with the project (`preprocessing/scenarios/*.yaml`); one's own is a file of that
form.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationError, field_validator, model_validator

from configs.loading import ConfigurationError, read_yaml_file
from configs.prompting import Prompts
from configs.section import Section
from preprocessing.records.item_tables import NUMERIC
from preprocessing.records.item_tables import TITLE as _TITLE

_REPLACED = str.maketrans({"<": "(", ">": ")", "`": "'", "\\": "/"})
_DOUBLE_QUOTES = str.maketrans(dict.fromkeys('"“”„‟«»＂〝〞〟', "'"))
_CHAT_MARKUP = re.compile(
    r"<\|[^<>]{0,40}\|>|\[/?(?:INST|SYS)\]|<{1,2}/?(?:SYS|s)>{1,2}|</?(?:system|user|assistant)>",
    re.IGNORECASE,
)
_INVISIBLE = ("Cf", "Cs", "Co", "Cn")
_BREAKING = ("Cc", "Zs", "Zl", "Zp")
_LONGEST_MARK_RUN = 3
_CUT_MARK = "..."


def sanitise_text(text: str, maximum_characters: int, quoted: bool) -> str:
    """One line without anything that could be taken for part of the prompt around it.

    Runs of control characters, line breaks and white space become one space; direction marks,
    zero-width and other invisible characters are removed; chat markup is removed, angle brackets,
    backticks and backslashes are replaced; piles of combining marks are cut.

    Args:
      text: a title, or another text that is not ours.
      maximum_characters: longer texts are cut, with "..." at the end.
      quoted: the text will stand in double quotation marks, so those inside become single ones.

    Returns:
      The text, empty if nothing visible is left.
    """
    # Nothing beyond some multiple of the cap can survive, so a text of any length costs little.
    text = unicodedata.normalize("NFC", text[: 20 * maximum_characters])
    text = _CHAT_MARKUP.sub(" ", _visible(text)).translate(_REPLACED)
    if quoted:
        text = text.translate(_DOUBLE_QUOTES)
    text = " ".join(text.split())
    if len(text) > maximum_characters:
        text = text[: maximum_characters - len(_CUT_MARK)].rstrip() + _CUT_MARK
    return text


def _visible(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    kept: list[str] = []
    mark_run = 0
    for character in text:
        category = unicodedata.category(character)
        if category in _INVISIBLE:
            continue
        mark_run = mark_run + 1 if category in ("Mn", "Me") else 0
        if mark_run <= _LONGEST_MARK_RUN:
            kept.append(" " if category in _BREAKING else character)
    return "".join(kept)


class TemplateError(ValueError):
    """A template cannot be used; the message says why."""


class Template:
    """A text with placeholders such as `{title}`; `{{` and `}}` stand for braces.

    Values are put in as they are and never read as templates, so braces in a title do nothing.
    Placeholders are plain names: no attributes, indices, conversions or format specifications.

    Attributes:
      text: the template as written.
      names: the placeholders in it, each once, in order.
    """

    def __init__(self, text: str):
        """Raises TemplateError when braces do not match or a placeholder is not a plain name."""
        self.text = text
        self._pieces: list[tuple[str, str | None]] = []
        try:
            for literal, name, specification, conversion in string.Formatter().parse(text):
                if name is not None and (not name.isidentifier() or specification or conversion):
                    written = f"{name}{'!' + conversion if conversion else ''}"
                    written += f":{specification}" if specification else ""
                    raise TemplateError(f"placeholder '{{{written}}}' is not a plain name")
                self._pieces.append((literal, name))
        except TemplateError:
            raise
        except ValueError as error:
            raise TemplateError(f"{error}; write a brace as {{{{ or }}}}") from error
        self.names = tuple(dict.fromkeys(name for _, name in self._pieces if name is not None))

    def require(self, allowed: Collection[str], required: Collection[str] = ()) -> None:
        """Checks the placeholders.

        Raises:
          TemplateError: one is unknown or a required one is missing.
        """
        for name in self.names:
            if name not in allowed:
                placeholders = ", ".join(f"{{{allowed_name}}}" for allowed_name in allowed)
                raise TemplateError(f"unknown placeholder '{{{name}}}'; known here: {placeholders}")
        for name in required:
            if name not in self.names:
                raise TemplateError(f"the placeholder '{{{name}}}' is missing")

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every placeholder replaced by its value."""
        return "".join(
            literal if name is None else literal + values[name] for literal, name in self._pieces
        )

    def expression(self, values: Mapping[str, str]) -> str:
        """Regular expression of the texts that `fill` makes, whatever the values.

        Args:
          values: placeholder -> expression of its values; the same again where it stands again.
        """
        seen: set[str] = set()
        pieces = []
        for literal, name in self._pieces:
            pieces.append(re.escape(literal))
            if name is not None:
                pieces.append(f"(?P={name})" if name in seen else values[name])
                seen.add(name)
        return "".join(pieces)


_FOLDER = Path(__file__).parent / "scenarios"
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


_GLUE = ", "


def attribute_texts(values: pa.ChunkedArray) -> list[str]:
    """[rows] values of a parsed attribute as text: 1995 for 1995.0, "Drama, War" for a list.

    Args:
      values: a column that `parse_attribute` made.

    Returns:
      Texts, empty where the attribute is missing.
    """
    if values.type != NUMERIC:
        return list(pc.binary_join(values, _GLUE).to_pylist())
    return [
        "" if number is None or math.isnan(number) else f"{number:.10g}"
        for number in values.to_pylist()
    ]


class TitleDisplay:
    """Turns rows of the catalogue into names for prompts: sanitised and, by default, quoted."""

    def __init__(self, scenario: PromptScenario, attributes: Collection[str], prompts: Prompts):
        """Chooses the displays that the catalogue's attributes allow.

        Args:
          scenario: has `title_display` and `leading_articles`.
          attributes: names of the catalogue's attributes, which may be used beside the title.
          prompts: cap of the length, and whether titles are quoted.
        """
        self._prompts = prompts
        self._displays = [
            template
            for template in map(Template, scenario.title_display)
            if all(name == _TITLE or name in attributes for name in template.names)
        ]
        articles = "|".join(re.escape(article) for article in scenario.leading_articles)
        self._late_article = (
            re.compile(rf"([^()]+), ({articles})((?: \(.*)?)", re.DOTALL) if articles else None
        )

    def of_table(self, table: pa.Table) -> Iterator[str]:
        """Names of the items of a table of `parse_catalogue`; empty for an item without title."""
        columns = {_TITLE: table[_TITLE].to_pylist()}
        for name in {name for display in self._displays for name in display.names} - {_TITLE}:
            columns[name] = attribute_texts(table[name])
        for values in zip(*columns.values(), strict=True):
            yield self.of_item(dict(zip(columns, values, strict=True)))

    def of_item(self, values: dict[str, str]) -> str:
        """Name of one item.

        Args:
          values: texts of the title and the attributes.

        Returns:
          The name, empty if there is no title.
        """
        cap, quoted = self._prompts.title_characters, self._prompts.delimit_titles
        clean = {name: sanitise_text(text, cap, quoted) for name, text in values.items()}
        if not clean[_TITLE]:
            return ""
        clean[_TITLE] = self._article_first(clean[_TITLE])
        display = next(
            display for display in self._displays if all(clean[name] for name in display.names)
        )
        shown = sanitise_text(display.fill(clean), cap, quoted)
        return f'"{shown}"' if quoted else shown

    def _article_first(self, title: str) -> str:
        match = self._late_article.fullmatch(title) if self._late_article else None
        if match is None:
            return title
        name, article, rest = match.groups()
        space = "" if article.endswith("'") else " "
        return f"{article}{space}{name}{rest}"
