"""Texts that say the same over and over, as LLMs do when they get stuck."""

from __future__ import annotations

from collections.abc import Sequence

from preprocessing.quality.text import AnswerText, ngrams
from preprocessing.quality.thresholds import Thresholds

_WORD_N = 4
_MINIMUM_WORDS = 16
# Endings are looked at alone: a text that gets stuck late has a good beginning.
_ENDING_WORDS = 60
_CHARACTER_N = 8
_MINIMUM_CHARACTERS = 60


def degenerate_repetition(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """How much of a text is repetition.

    Counted in words; in characters where there are few words: one endless word, or a script
    without spaces.
    """
    if len(answer.words) >= _MINIMUM_WORDS:
        share = max(
            repeated_share(answer.words, _WORD_N),
            repeated_share(answer.words[-_ENDING_WORDS:], _WORD_N),
        )
    elif len(answer.text) >= _MINIMUM_CHARACTERS:
        share = repeated_share(answer.text, _CHARACTER_N)
    else:
        return None
    if share <= thresholds.maximum_repetition:
        return None
    return f"{share:.0%} repetition, ends with '...{answer.text[-40:]}'"


def repeated_share(units: Sequence[str], n: int) -> float:
    """1 - distinct n-grams / n-grams; 0 for a text without any."""
    grams = ngrams(units, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
