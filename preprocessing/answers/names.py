"""Names of items in answers: where their lists stand, whom they are about, which entries count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preprocessing.answers.checks import AnswerText, Thresholds, placeholder, refusal, words_of
from preprocessing.answers.record import Answer, RejectedAnswer, json_value
from preprocessing.records.contract import COLLECTIVE

LINKS, LIKED, DISLIKED = "links", "liked", "disliked"
LISTS: Mapping[str, tuple[str, ...]] = {"item": (LINKS,), "user": (LIKED, DISLIKED)}
"""What an answer is about -> its lists: items that go with it, or what a user would love or not."""

LONGEST_NAME = 300
_DEFAULTS = Thresholds()


@dataclass(frozen=True)
class NameList:
    """A list of names.

    Attributes:
      entity_id: the item or user that it is about.
      kind: a name of `LISTS`.
      names: best first, without numbers that only count them; entries that are no texts included.
      title: what the prompt calls the item; None if nothing tells.
    """

    entity_id: str
    kind: str
    names: Sequence[object]
    title: str | None = None


@dataclass(frozen=True)
class NameLists:
    """The lists of one answer.

    Attributes:
      lists: each of them, with at least one entry.
      left_out: answers about groups: members without names.
      unknown: answers about groups: keys that mean none of the members.
    """

    lists: list[NameList]
    left_out: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def name_lists(answer: Answer, entity: str | None = None, key: str = LINKS) -> NameLists:
    """Finds the names that an answer lists.

    - About an item: a list, or an object with a list under `key`; of one with a single list, that.
    - About a user: an object with lists `liked` and `disliked`, or one of them.
    - About a group of items (`Answer.members`): an object, under `key` or alone, with a list for
      each member under its number, from 1. "2.", "2. Heat" and the title that the prompt shows
      mean the member, too.

    Args:
      answer: its factors, or its text as JSON.
      entity: "item" or "user"; None where the answer tells.
      key: where the lists about items are.

    Raises:
      RejectedAnswer: there is no such list, or all are empty.
    """
    content: object = answer.factors
    if content is None:
        try:
            content = json_value(answer.text)
        except ValueError as error:
            declined = refusal(AnswerText(answer.text), _DEFAULTS)
            if declined is not None:
                raise RejectedAnswer("refusal", declined) from error
            raise RejectedAnswer("no_list", f"not JSON: {error}") from error
    if answer.members is not None:
        return _lists_of_members(answer, answer.members, content, key)
    if entity is None:
        is_about_user = isinstance(content, dict) and any(kind in content for kind in LISTS["user"])
        entity = "user" if is_about_user else "item"
    fields = content if isinstance(content, dict) else {}
    if entity == "user":
        entries = {kind: fields.get(kind) for kind in LISTS["user"]}
    elif isinstance(content, dict):
        lists = [value for value in fields.values() if isinstance(value, list)]
        entries = {LINKS: lists[0] if key not in fields and len(lists) == 1 else fields.get(key)}
    else:
        entries = {LINKS: content}
    wrong = [
        f"{type(entry).__name__} where the names should be"
        for entry in entries.values()
        if entry is not None and not isinstance(entry, list)
    ]
    if wrong or not any(entries.values()):
        raise RejectedAnswer("no_list", f"JSON, but {(wrong or ['no names'])[0]}")
    title = next(iter(_shown_titles(answer.prompt).values()), None) if entity == "item" else None
    return NameLists(
        [
            NameList(answer.entity_id, kind, _without_numbers(entry), title)
            for kind, entry in entries.items()
            if isinstance(entry, list) and entry
        ]
    )


def lists_for_links(answer: Answer, entity: str, factor: str | None) -> NameLists:
    """The lists of an answer of a source with links, see `name_lists`.

    Args:
      answer: of the source.
      entity: of the source.
      factor: of the source.

    Raises:
      RejectedAnswer: there is no list, or an answer about a group does not say who is in it.
    """
    if answer.extraction == COLLECTIVE and answer.members is None:
        detail = "no field 'members' says which items the answer lists names for"
        raise RejectedAnswer("missing_field", detail)
    return name_lists(answer, entity, factor or LINKS)


def has_name_lists(answer: Answer) -> bool:
    """Whether an answer without a schema lists names under the usual keys."""
    content = _content(answer)
    return isinstance(content, list) or (
        isinstance(content, dict)
        and any(isinstance(content.get(key), list | dict) for key in _USUAL_KEYS)
    )


def prose_beside_names(answer: Answer) -> str:
    """The texts of a structured answer, a line each; empty where it has none."""
    content = _content(answer)
    texts = content.values() if isinstance(content, dict) else ()
    return "\n".join(text for text in texts if isinstance(text, str))


def _content(answer: Answer) -> object:
    """Factors, or the JSON value that the text is; None if it is none."""
    if answer.factors is not None:
        return answer.factors
    if answer.text.lstrip()[:1] not in _FIRST_CHARACTERS:
        return None
    try:
        return json_value(answer.text)
    except ValueError:
        return None


_FEWEST_NUMBERED = 3
_LIST_NUMBER = re.compile(r"\s*(\d{1,3})[.)]\s+(?=\S)")


def _without_numbers(names: Sequence[object]) -> Sequence[object]:
    """Names of a list without "1. ", "2. " ... in front.

    A title may begin like that ("1. Mose"), so the numbers go only where every name has that of its
    place, there are three at least, and something else tells them apart.
    """
    plain: list[object] = []
    for place, name in enumerate(names, start=1):
        number = _LIST_NUMBER.match(name) if isinstance(name, str) else None
        if number is None or int(number[1]) != place:
            return names
        plain.append(number.string[number.end() :])
    return plain if len(plain) >= _FEWEST_NUMBERED and len(set(plain)) > 1 else names


_USUAL_KEYS = tuple(kind for kinds in LISTS.values() for kind in kinds)
_FIRST_CHARACTERS = ("[", "{", "`")
_NUMBER = re.compile(r"\s*(\d{1,6})\s*(?:[.:)]|$)")


def _lists_of_members(
    answer: Answer, members: Sequence[str], content: object, key: str
) -> NameLists:
    if isinstance(content, dict):
        content = content.get(key, content)
    if not isinstance(content, dict):
        type_name = type(content).__name__
        raise RejectedAnswer("no_list", f"JSON, but {type_name} where an object of lists should be")
    shown, number_of = _shown_titles(answer.prompt), numbers_of_members(answer.prompt)
    lists: dict[str, NameList] = {}
    unknown = []
    for name, entry in content.items():
        number = number_of(name)
        member = members[number - 1] if 1 <= number <= len(members) else None
        if member is None or member in lists:
            unknown.append(name)
        elif isinstance(entry, list) and entry:
            lists[member] = NameList(member, LINKS, _without_numbers(entry), shown.get(number))
    if not lists:
        raise RejectedAnswer("no_list", f"no list for any of the {len(members)} members")
    left_out = [member for member in members if member not in lists]
    return NameLists(list(lists.values()), left_out, unknown)


def numbers_of_members(prompt: str | None) -> Callable[[str], int]:
    """What a key of an answer about a group means: the number of a member, from 1; 0 for none."""
    numbers = {title_words(title): number for number, title in _shown_titles(prompt).items()}

    def number_of(key: str) -> int:
        match = _NUMBER.match(key)
        if match and not key[match.end() :].strip():
            return int(match[1])
        # A title may begin like a numbered entry: "3:10 to Yuma".
        return numbers.get(title_words(key), int(match[1]) if match else 0)

    return number_of


_SHOWN = re.compile(r'(?:(?<!\d)(\d{1,6})\. )?"([^"]+)"(?!\s*:)')


def _shown_titles(prompt: str | None) -> dict[int, str]:
    """Titles in quotation marks by their number in the prompt, or in their order where it has none.

    A quotation before a colon is a key of the form that the prompt asks for.
    """
    return {
        int(number) if number else position: title
        for position, (number, title) in enumerate(_SHOWN.findall(prompt or ""), start=1)
    }


_YEAR = re.compile(r"\((\d{4})\)\s*$")


def title_words(title: str) -> tuple[str, ...]:
    """Words of a title, the year in brackets at its end left out."""
    return tuple(words_of(_YEAR.sub("", title)))


_LETTER = re.compile(r"[^\W_]")
_MARK_OF_GAP = re.compile(r"[\[<{%/_(]")
_FEWEST_WORDS_OF_REFUSAL = 6


def name_text(name: object) -> str:
    """An entry of a list as tables and dead letters have it: of a too long one the beginning."""
    return str(name)[:LONGEST_NAME].encode(errors="replace").decode()


def fault_of(name: object) -> str | None:
    """Why an entry of a list is no name, a reason of `LINKING_REASONS`; None if it is one.

    A refusal has some words: "Sorry, Wrong Number" and "Please Give" are films.
    """
    if not isinstance(name, str):
        return "name_not_a_text"
    if len(name) > LONGEST_NAME:
        return "name_too_long"
    if not _LETTER.search(name):
        return "name_without_letters"
    text = AnswerText(name)
    if name.count(" ") >= _FEWEST_WORDS_OF_REFUSAL - 1 and refusal(text, _DEFAULTS):
        return "no_name"
    return "no_name" if _MARK_OF_GAP.search(name) and placeholder(text, _DEFAULTS) else None


@dataclass
class NameCounts:
    """How many names there are, and of what use.

    Attributes:
      lists: lists of names.
      usable: names that may mean an item.
      dropped: the others by reason.
      members_left_out: members of groups without names.
    """

    lists: int = 0
    usable: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    members_left_out: int = 0

    def add(self, other: NameCounts) -> None:
        """Adds the names of other answers."""
        self.lists += other.lists
        self.usable += other.usable
        self.dropped += other.dropped
        self.members_left_out += other.members_left_out

    def as_dictionary(self) -> dict[str, Any]:
        """`names` = `usable` + `dropped`."""
        return {
            "lists": self.lists,
            "names": self.usable + self.dropped.total(),
            "usable": self.usable,
            "dropped": dict(sorted(self.dropped.items())),
            "members_left_out": self.members_left_out,
        }


def told_names(counts: Mapping[str, Any]) -> str:
    """A dictionary of `NameCounts` for people."""
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in counts["dropped"].items())
    left_out = counts["members_left_out"]
    return (
        f"names: {counts['names']:,} in {counts['lists']:,} lists, {counts['usable']:,} of use"
        f"{f'; dropped: {dropped}' if dropped else ''}"
        f"{f'; {left_out:,} members of groups have none' if left_out else ''}"
    )


def count_names(lists: NameLists) -> NameCounts:
    """Judges the names of an answer as far as that needs no catalogue.

    A name is the same as an earlier one, or as the title of the item itself, if the words are, and
    the years in brackets unless one of them has none.
    """
    counts = NameCounts(lists=len(lists.lists), members_left_out=len(lists.left_out))
    named: dict[str, _Titles] = {}
    for listed in lists.lists:
        seen = named.setdefault(listed.entity_id, _Titles())
        for reason in _reasons(listed, seen):
            if reason is None:
                counts.usable += 1
            else:
                counts.dropped[reason] += 1
    return counts


def _reasons(listed: NameList, seen: _Titles) -> Iterator[str | None]:
    own = _Titles()
    if listed.title is not None:
        own.add(listed.title)
    for name in listed.names:
        fault = fault_of(name)
        if fault is not None or not isinstance(name, str):
            yield fault
        elif name in own:
            yield "self_mention"
        elif name in seen:
            yield "repeated_name"
        else:
            seen.add(name)
            yield None


class _Titles:
    """Titles by their words, with the years of each: a remake is another film."""

    def __init__(self) -> None:
        self._years: dict[tuple[str, ...], set[str | None]] = {}

    def add(self, title: str) -> None:
        self._years.setdefault(title_words(title), set()).add(_year_of(title))

    def __contains__(self, title: str) -> bool:
        years, year = self._years.get(title_words(title), set()), _year_of(title)
        return bool(years) and (year is None or None in years or year in years)


def _year_of(title: str) -> str | None:
    match = _YEAR.search(title)
    return match[1] if match else None
