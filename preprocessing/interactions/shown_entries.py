"""Which of a user's interactions a prompt shows, entry by entry.

A prompt is text, and whoever wrote it chose its form. Three things lead from the text back to the
log: the source's `history_entry_pattern`, which says where entries are; the templates by which
prompts are written here, with a general form beside them; and the names that the catalogue's items
have in prompts. Names are compared by their words, so that quotation marks and other punctuation,
which the templates of prompts change, make no difference.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from configs.prompting import Prompts
from configs.section import Section
from preprocessing.prompt_templates import (
    PromptScenario,
    Template,
    TitleDisplay,
    bundled_scenarios,
    load_prompt_scenario,
    prompt_scenario_path,
)
from preprocessing.records.item_tables import ITEM_ID, TITLE

Name = tuple[str, ...]
"""The words of a name, in lower case."""

_WORDS = re.compile(r"\w+")
_AROUND = " \t\r\n;,."
_NUMBERING = re.compile(r"\s*(?:\d+[.):]|[-*•])\s+")
_RATING = r"(?P<rating>\d+(?:[.,]\d+)?)"
_OPINION = r"(?P<opinion>(?:dis)?liked?)"
_GENERAL_FORMS = (
    rf"(?P<title>.+?)\W*(?:(?:rated|rating|scored?|given|gave|with|as)\b\W*)*{_RATING}"
    r"(?:\s*(?:/|out of)\s*\d+)?\s*(?:stars?|points?)?\W*",
    rf"(?P<title>.+?)\W+{_OPINION}\W*",
)
_OPINION_ELSEWHERE = re.compile(
    r"\d+(?:[.,]\d+)?\s*(?:stars?|points?)\b|\((?:dis)?liked\b", re.IGNORECASE
)
_LONGEST_ENTRY = 1000
"""Characters that can be an entry, which bounds the time that any text can cost."""

_STARS = " stars"
"""What published prompts write for an asterisk, of a rating and of a title alike."""

_TELLING_WORDS = 3
"""A name of fewer words may stand in any text by chance."""


class PromptWording(Section):
    """How prompts write items and interactions; it travels to workers and into the manifest."""

    scenarios: tuple[PromptScenario, ...] = ()
    title_characters: int = Prompts().title_characters
    rated: bool = True

    @classmethod
    def of(cls, prompts: Prompts, rated: bool) -> PromptWording:
        """The wording of `prompts.scenario`; of all bundled scenarios if it names none.

        Args:
          prompts: the section of the configuration.
          rated: the log has ratings.

        Raises:
          ConfigurationError: the prompt scenario is missing or wrong.
        """
        names = bundled_scenarios() if prompts.scenario is None else [prompts.scenario]
        return cls(
            scenarios=tuple(load_prompt_scenario(prompt_scenario_path(name)) for name in names),
            title_characters=prompts.title_characters,
            rated=rated,
        )

    def names(self, items: pa.Table, attributes: Collection[str]) -> dict[str, list[Name]]:
        """Item id -> the names that prompts may call it; items without title have none.

        Args:
          items: item_id, title and the attributes, as `parse_catalogue` or the file of item
            attributes has them; the first row of an item counts.
          attributes: names of the catalogue's attributes, which may be part of a name.
        """
        prompts = Prompts(title_characters=self.title_characters)
        shown = [items[TITLE].to_pylist()]
        for scenario in self.scenarios:
            bare = scenario.model_copy(update={"title_display": (f"{{{TITLE}}}",)})
            as_stored = scenario.model_copy(update={"leading_articles": ()})
            for display in (scenario, bare, as_stored):
                shown.append(list(TitleDisplay(display, attributes, prompts).of_table(items)))
        names: dict[str, list[Name]] = {}
        for item, *texts in zip(items[ITEM_ID].to_pylist(), *shown, strict=True):
            if item not in names:
                texts += [text.replace("*", _STARS) for text in texts if text and "*" in text]
                distinct = dict.fromkeys(words_of(text or "") for text in texts)
                names[item] = [name for name in distinct if name]
        return names

    @functools.cached_property
    def forms(self) -> list[re.Pattern[str]]:
        """Expressions of one entry, the most exact first."""
        templates = dict.fromkeys(
            template.strip(_AROUND)
            for scenario in self.scenarios
            for template in (
                scenario.templates.history_entry,
                scenario.templates.history_entry_without_rating,
            )
        )
        groups = {"title": "(?P<title>.+)", "rating": _RATING, "opinion": _OPINION}
        exact = [Template(template).expression(groups) for template in templates]
        return [re.compile(form, re.DOTALL | re.IGNORECASE) for form in (*exact, *_GENERAL_FORMS)]


def words_of(text: str) -> Name:
    """The words of a text; of a text without any, such as "$", the text itself."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    bare = plain.strip("\"' " + _AROUND)
    return tuple(_WORDS.findall(plain)) or tuple(bare.split())


@dataclass(frozen=True)
class UserLog:
    """All interactions of one user, in order.

    Attributes:
      names: [rows] what prompts may call the item.
      ratings: [rows], or None where the log has none.
      liked: [rows] what the label says; None where it is not known.
      allowed: [rows] True where the LLM may have seen the interaction.
    """

    names: Sequence[Sequence[Name]]
    ratings: Sequence[float] | None
    liked: Sequence[bool | None]
    allowed: Sequence[bool]

    @functools.cached_property
    def rows(self) -> dict[Name, list[int]]:
        """Name -> the rows that have it."""
        rows_of_name: dict[Name, list[int]] = {}
        for row, names in enumerate(self.names):
            for name in names:
                rows_of_name.setdefault(name, []).append(row)
        return rows_of_name


@dataclass(frozen=True)
class Shown:
    """What one prompt shows.

    Attributes:
      entries: interactions that it shows.
      rows: rows of the user's log that entries were resolved to and the LLM may have seen.
      later: rows that entries were resolved to and the LLM must not have seen.
      unresolved: entries that are no interaction of the user, or whose rating differs.
    """

    entries: int
    rows: tuple[int, ...] = ()
    later: tuple[int, ...] = ()
    unresolved: int = 0

    @property
    def verified(self) -> bool:
        """True when the LLM may have seen every entry."""
        return self.entries > 0 and not self.later and not self.unresolved


def resolve(
    prompt: str | None, pattern: re.Pattern[str], wording: PromptWording, log: UserLog
) -> Shown:
    """Finds the entries of a prompt in its user's log.

    Where an item or several items of one name occur more than once, an entry stands for one that
    the LLM may have seen as long as there is one that no other entry stands for. An entry with a
    known name and another rating is a later interaction if the LLM may have seen none of the name.

    Args:
      prompt: what the LLM was asked; None if nobody knows.
      pattern: matches once per interaction in it: the whole entry, its end, or a part of its line.
      wording: how entries are written.
      log: the user's interactions.
    """
    read = [
        _resolve_entries(entries, outside, wording, log)
        for entries, outside in _entries(prompt or "", pattern)
    ]
    return max(
        read,
        key=lambda shown: (len(shown.rows) + len(shown.later), -shown.unresolved),
        default=Shown(0),
    )


@dataclass(frozen=True)
class _Entry:
    """Text of one entry; `led` when text that is no part of it may come before."""

    text: str
    led: bool = False


@dataclass(frozen=True)
class _Reading:
    """One way to read an entry."""

    title: str
    rating: float | None = None
    liked: bool | None = None

    def agrees(self, log: UserLog, row: int) -> bool:
        if self.rating is not None and log.ratings is not None:
            return math.isclose(self.rating, log.ratings[row], rel_tol=1e-6, abs_tol=1e-6)
        liked = log.liked[row]
        return self.liked is None or liked is None or self.liked == liked


def _entries(prompt: str, pattern: re.Pattern[str]) -> Iterator[tuple[list[_Entry], str]]:
    """The ways to cut a prompt into entries, with the text outside of them."""
    matches = list(pattern.finditer(prompt))
    if not matches:
        return
    ends = [0, *(match.end() for match in matches)]
    spans = list(zip(ends, ends[1:], strict=False))
    first = max(0, ends[1] - _LONGEST_ENTRY)
    led = _Entry(prompt[first : ends[1]], led=True)
    marked = [led, *(_Entry(prompt[start:end]) for start, end in spans[1:])]
    yield marked, f"{prompt[:first]}\n{prompt[ends[-1] :]}"
    gaps = [prompt[end : match.start()] for end, match in zip(ends[1:], matches[1:], strict=False)]
    if not any(character.isalnum() for gap in gaps for character in gap):
        outside = f"{prompt[: matches[0].start()]}\n{prompt[ends[-1] :]}"
        yield [_Entry(match.group()) for match in matches], outside
    lines = [_line_of(prompt, match) for match in matches]
    if len({start for start, _ in lines}) == len(lines) > 1:
        outside = f"{prompt[: lines[0][0]]}\n{prompt[lines[-1][1] :]}"
        yield [_Entry(_NUMBERING.sub("", prompt[start:end], 1)) for start, end in lines], outside


def _line_of(prompt: str, match: re.Match[str]) -> tuple[int, int]:
    start = prompt.rfind("\n", 0, match.start()) + 1
    end = prompt.find("\n", match.start())
    return start, len(prompt) if end < 0 else end


def _resolve_entries(
    entries: Sequence[_Entry], outside: str, wording: PromptWording, log: UserLog
) -> Shown:
    options = []
    unresolved = 0
    later: set[int] = set()
    for entry in entries:
        agreeing, named, before = _rows_of(entry, wording.forms, log)
        outside += f"\n{before}"
        if agreeing:
            options.append(agreeing)
        elif named and not any(log.allowed[row] for row in named):
            later.add(named[0])
        else:
            unresolved += 1
    taken: set[int] = set()
    # The entries with the fewest rows choose first: the others find another one.
    for rows in sorted(options, key=len):
        free = [row for row in rows if row not in taken]
        if free:
            taken.add(next((row for row in free if log.allowed[row]), free[0]))
        else:
            unresolved += 1
    if _shows_more(outside, log):
        unresolved += 1
    return Shown(
        entries=len(entries),
        rows=tuple(sorted(row for row in taken if log.allowed[row])),
        later=tuple(sorted({row for row in taken if not log.allowed[row]} | later)),
        unresolved=unresolved,
    )


def _rows_of(
    entry: _Entry, forms: Sequence[re.Pattern[str]], log: UserLog
) -> tuple[list[int], list[int], str]:
    """Rows that an entry agrees with, rows that have at least its name, and text before it."""
    named: list[int] = []
    before = ""
    for reading in _readings(entry, forms):
        words = words_of(reading.title)
        first = 0
        if entry.led:
            first = next((at for at in range(len(words)) if words[at:] in log.rows), len(words))
        rows = log.rows.get(words[first:], [])
        agreeing = [row for row in rows if reading.agrees(log, row)]
        if agreeing:
            return agreeing, rows, _before(reading.title, first)
        if rows and not named:
            named, before = rows, _before(reading.title, first)
    return [], named, before


def _before(text: str, words: int) -> str:
    """The text of the first so many words."""
    matches = list(_WORDS.finditer(text))[:words]
    return text[: matches[-1].end()] if matches else ""


def _readings(entry: _Entry, forms: Sequence[re.Pattern[str]]) -> Iterator[_Reading]:
    """Ways to read an entry; the whole of it as a name first, unless other text comes before."""
    text = entry.text.strip(_AROUND)
    if len(text) > _LONGEST_ENTRY:
        return
    if not entry.led:
        yield _Reading(text)
    for form in forms:
        match = form.fullmatch(text)
        if match is None:
            continue
        groups: Mapping[str, str | None] = match.groupdict()
        rating, opinion = groups.get("rating"), groups.get("opinion")
        yield _Reading(
            title=match["title"],
            rating=float(rating.replace(",", ".")) if rating else None,
            liked=opinion.casefold().startswith("like") if opinion else None,
        )
    if entry.led:
        yield _Reading(text)


def _shows_more(outside: str, log: UserLog) -> bool:
    """True when the text outside of the entries rates an item, or names a later interaction."""
    for mark in _OPINION_ELSEWHERE.finditer(outside):
        before = words_of(outside[max(0, mark.start() - _LONGEST_ENTRY) : mark.start()])
        if any(before[at:] in log.rows for at in range(len(before))):
            return True
    words = words_of(outside)
    present = set(words)
    text = f" {' '.join(words)} "
    return any(
        len(name) >= _TELLING_WORDS
        and name[0] in present
        and not any(log.allowed[row] for row in rows)
        and f" {' '.join(name)} " in text
        for name, rows in log.rows.items()
    )
