"""Answers that are too short or too long, in characters."""

from __future__ import annotations

from preprocessing.quality.text import AnswerText
from preprocessing.quality.thresholds import Thresholds


def too_short(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """What is wrong with a text that is too short."""
    length = len(answer.text)
    if length >= thresholds.minimum_characters:
        return None
    return f"{length} characters, fewer than {thresholds.minimum_characters}: {answer.text!r}"


def too_long(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """What is wrong with a text that is too long."""
    length = len(answer.text)
    if length <= thresholds.maximum_characters:
        return None
    return f"{length} characters, more than {thresholds.maximum_characters}"
