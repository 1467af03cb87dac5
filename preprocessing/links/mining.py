"""Titles that prose answers mention: another way to links, from answers bought for their prose."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.links.titles import as_written, split_years, titles_alone

_WORD = re.compile(r"[^\W_]+(?:['\u2019.][^\W_]+)*")
_ARTICLES = ("the", "a", "an")
_LISTED = re.compile(r"(?:,|,? (?:and|or|&)|/) ?")
_ANNOUNCED = re.compile(
    r"\b(?:like|such as|including|alongside|akin to|similar to|reminiscent of|fans of|"
    r"influenced by) (?:the )?$"
)
_CAPITAL_BEFORE = re.compile(r"[A-Z][^\W_]*[.'\u2019]? $")
_CAPITAL_AFTER = re.compile(r" [A-Z]|['\u2019]s\b")
_ENDS_A_SENTENCE = frozenset(".!?:\n")
_QUOTES = frozenset("\"\u201c\u201d'\u2018\u2019*_\u00ab\u00bb")
_LOOKED_BACK = 40
_SMALL_WORD = 3
_WITHOUT_ARTICLE = 3
_MOST_ANSWERS = 0.02
_FEWEST_ANSWERS = 20


@dataclass
class _Mention:
    """A title in a text: where, whether it is one word, and whether it counts as it stands."""

    start: int
    end: int
    is_word: bool
    counts: bool


class TitleMentions:
    """Finds titles in prose, the longest first, by their words.

    A title of two words or more counts where it is written with capitals; its article may be
    missing if three words are left. A single word is too often a name ("Laura", "Philadelphia"):
    it counts in quotation marks, or where it is distinctive, that is never met in small letters and
    in one answer of fifty at most, and stands by itself where titles stand, beside another one in a
    list or after "like" or "such as".

    Args:
      titles: [items] of the catalogue.
    """

    def __init__(self, titles: pa.Array):
        plain, _ = split_years(pc.fill_null(titles.cast(pa.large_string()), ""))
        self._longest: dict[str, int] = {}
        self._titles: set[str] = set()
        for text in as_written(titles_alone(plain)).to_pylist():
            words = [_without_points(word) for word in _WORD.findall(text)]
            self._add(words)
            if words[:1] and words[0] in _ARTICLES and len(words) > _WITHOUT_ARTICLE:
                self._add(words[1:])
        self._plain: dict[str, str] = {}
        self._small: Counter[str] = Counter()
        self._answers_with: Counter[str] = Counter()
        self._answers = 0

    def _add(self, words: list[str]) -> None:
        if words:
            self._titles.add(" ".join(words))
            self._longest[words[0]] = max(self._longest.get(words[0], 0), len(words))

    def find(self, text: str) -> list[tuple[str, bool]]:
        """Mentions in one answer, each once, in the order of the text.

        Returns:
          The mention as it is written, and whether it is a single word that counts only if
          `is_distinctive` says so when all answers have been read.
        """
        mentions = self._mentions(text)
        for before, after in (
            *zip(mentions, mentions[1:], strict=False),
            *reversed(list(zip(mentions[1:], mentions, strict=False))),
        ):
            first, second = sorted((before, after), key=lambda mention: mention.start)
            if before.counts and _LISTED.fullmatch(text, first.end, second.start):
                after.counts = True
        is_distinctive: dict[str, bool] = {}
        for mention in mentions:
            if mention.counts:
                name = text[mention.start : mention.end]
                is_distinctive[name] = mention.is_word and is_distinctive.get(name, True)
        return list(is_distinctive.items())

    def is_distinctive(self, word: str) -> bool:
        """Whether a single word, as it is written, is not a common word or name."""
        plain = self._plain_word(word)
        most = max(_FEWEST_ANSWERS, _MOST_ANSWERS * self._answers)
        return not self._small[plain] and self._answers_with[plain] <= most

    def _mentions(self, text: str) -> list[_Mention]:
        """All titles, of single words those that may count; counts words on the way."""
        spans = [match.span() for match in _WORD.finditer(text)]
        words = [self._plain_word(text[start:end]) for start, end in spans]
        self._answers += 1
        mentions: list[_Mention] = []
        capital: set[str] = set()
        position = 0
        while position < len(words):
            size = self._size_of_title(text, spans, words, position)
            start, end = spans[position][0], spans[position + max(size, 1) - 1][1]
            if size > 1 or (size and _is_quoted(text, start, end)):
                mentions.append(_Mention(start, end, False, True))
            elif size and text[start].islower():
                self._small[words[position]] += 1
            elif size:
                capital.add(words[position])
                before = text[max(0, start - _LOOKED_BACK) : start]
                if not _CAPITAL_BEFORE.search(before) and not _CAPITAL_AFTER.match(text, end):
                    announced = _ANNOUNCED.search(before) is not None
                    mentions.append(_Mention(start, end, True, announced))
            position += max(size, 1)
        self._answers_with.update(capital)
        return mentions

    def _size_of_title(
        self, text: str, spans: list[tuple[int, int]], words: list[str], position: int
    ) -> int:
        """Words of the longest title that begins here; 0 if none does."""
        for size in range(min(self._longest.get(words[position], 0), len(words) - position), 0, -1):
            if " ".join(words[position : position + size]) in self._titles:
                written = [text[slice(*span)] for span in spans[position : position + size]]
                one_word = size == 2 and words[position] in _ARTICLES
                if size == 1 or (
                    _has_capitals(written)
                    and not (one_word and _begins_sentence(text, spans[position][0]))
                ):
                    return size
        return 0

    def _plain_word(self, word: str) -> str:
        plain = self._plain.get(word)
        if plain is None:
            written = word if word.isascii() else as_written(pa.array([word]))[0].as_py()
            plain = self._plain[word] = _without_points(written.lower())
        return plain


def _without_points(word: str) -> str:
    return word.translate(_POINTS)


_POINTS = {ord(point): None for point in "'\u2019."}


def _has_capitals(words: list[str]) -> bool:
    """Whether words are written as a title: all but small inner ones begin with no small letter."""
    first, *inner, last = words
    return not any(
        word[0].islower() for word in (first, last, *(w for w in inner if len(w) > _SMALL_WORD))
    )


def _is_quoted(text: str, start: int, end: int) -> bool:
    return (
        start > 0
        and text[start - 1] in _QUOTES
        and text[end : end + 1] in _QUOTES
        and end < len(text)
    )


def _begins_sentence(text: str, start: int) -> bool:
    before = text[:start].rstrip(" ")
    return not before or before[-1] in _ENDS_A_SENTENCE
