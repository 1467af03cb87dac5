"""Answers that stop before they end."""

from __future__ import annotations

import re

from preprocessing.quality.text import AnswerText, words_of
from preprocessing.quality.thresholds import TRUNCATION_LEVELS, Thresholds

_STOPPED_AT_LIMIT = frozenset({"length", "max_tokens", "max_output_tokens"})
_ENDS_OPEN = re.compile(r"[,;:(\[{“‘«–—-]$")
_WORDS_THAT_GO_ON = frozenset(
    """
    a an the and or nor but as at by for from in into of on onto to with without between among
    about against during including such than that which who whose while because although though if
    when where is are was were be been being has have had its their his my your our this these
    those very more most both either neither not
    """.split()
)
# Not after an initial or a title: "J. R. R. Tolkien", "Mr. Smith".
_SENTENCE_END = re.compile(
    r"(?:(?<!\b[^\W\d_])(?<!\b[DMSdms][rst])(?<!\bMrs)(?<!\bvs)\.|[!?…])(?=[\"'”’»)\]*_]*\s)"
    r"|[。！？।؟]"
)
_COMPLETE_END = re.compile(r"[.!?…。！？।؟][\"'“”’»)\]}*_`\s]*$|[}\]`]$|[^\w\s.,;:'\"(\[{“‘«–—-]$")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•–—#|>]|\(?\w{1,3}[.)]\s)")
_KEY_AND_VALUE = re.compile(r"^[^.!?]{1,60}:\s")
_FRAGMENT_WORDS = 3
_FRAGMENT_CHARACTERS = 8
_SHOWN_CHARACTERS = 40


def stopped_at_limit(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """What the service reports about a text that was cut off."""
    if answer.finish_reason not in _STOPPED_AT_LIMIT:
        return None
    return f"the service reports finish_reason '{answer.finish_reason}'"


def ends_inside_sentence(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """How a text ends that was cut off; see `Thresholds.truncation`."""
    level = TRUNCATION_LEVELS.index(thresholds.truncation)
    tests = (_ends_open, _running_text_without_end, _has_no_end)
    if any(test(answer.text) for test in tests[:level]):
        return f"ends with '...{answer.text[-_SHOWN_CHARACTERS:]}'"
    return None


def _ends_open(text: str) -> bool:
    if _ENDS_OPEN.search(text):
        return True
    if not (text[-1:].isalpha() and text[-1:].islower()):
        return False
    last_words = words_of(text[-_SHOWN_CHARACTERS:])[-1:]
    return any(word in _WORDS_THAT_GO_ON for word in last_words)


def _running_text_without_end(text: str) -> bool:
    """Sentences, then some words that make none; lists and `key: value` often end so."""
    last_line = text.rsplit("\n", 1)[-1]
    if not _has_no_end(text) or _LIST_ITEM.match(last_line):
        return False
    ends = list(_SENTENCE_END.finditer(last_line))
    if not ends:
        return False
    fragment = last_line[ends[-1].end() :].lstrip("\"'”’»)]*_ ")
    # Scripts without spaces between words are counted in characters.
    is_clause = len(words_of(fragment)) >= _FRAGMENT_WORDS or (
        not fragment.isascii() and len(fragment) >= _FRAGMENT_CHARACTERS
    )
    return is_clause and not _KEY_AND_VALUE.match(fragment)


def _has_no_end(text: str) -> bool:
    return _COMPLETE_END.search(text[-_SHOWN_CHARACTERS:]) is None
