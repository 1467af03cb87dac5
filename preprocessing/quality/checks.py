"""All checks of a single answer, in order: the first that fails gives the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from preprocessing.knowledge.answers import RejectedAnswer
from preprocessing.quality.echo import prompt_echo
from preprocessing.quality.encoding import bad_encoding
from preprocessing.quality.language import wrong_language
from preprocessing.quality.length import too_long, too_short
from preprocessing.quality.placeholders import placeholder
from preprocessing.quality.refusal import content_filter, refusal
from preprocessing.quality.repetition import degenerate_repetition
from preprocessing.quality.text import AnswerText
from preprocessing.quality.thresholds import Thresholds
from preprocessing.quality.truncation import ends_inside_sentence, stopped_at_limit

Check = Callable[[AnswerText, Thresholds], str | None]

CHECKS: Sequence[tuple[str, Check]] = (
    ("truncated", stopped_at_limit),
    ("content_filter", content_filter),
    ("refusal", refusal),
    ("bad_encoding", bad_encoding),
    ("prompt_echo", prompt_echo),
    ("placeholder", placeholder),
    ("degenerate_repetition", degenerate_repetition),
    ("truncated", ends_inside_sentence),
    ("too_short", too_short),
    ("too_long", too_long),
    ("wrong_language", wrong_language),
)
"""Reason and check. A check returns what is wrong, for people, or None."""


def check_text(answer: AnswerText, thresholds: Thresholds) -> None:
    """Checks one answer by itself.

    Raises:
      RejectedAnswer: it fails a check; the reason is the check's.
    """
    for reason, check in CHECKS:
        detail = check(answer, thresholds)
        if detail is not None:
            raise RejectedAnswer(reason, detail)
