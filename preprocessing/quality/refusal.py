"""Answers in which the LLM declines, or asks for what it was not given."""

from __future__ import annotations

import re

from preprocessing.quality.text import AnswerText
from preprocessing.quality.thresholds import Thresholds

_FILTERED, _REFUSED = "content_filter", "refusal"

# A refusal comes first; the same words further down may speak of a film's character.
_OPENING_CHARACTERS = 300
# An answer below this length that asks for input is nothing but the question.
_SHORT_CHARACTERS = 500

_NOT = r"(?:cannot|can[’']?t|can not|could not|couldn[’']?t|am unable to|[’']m unable to|am not able to|[’']m not able to|won[’']?t be able to)"  # noqa: E501
_ACT = r"(?:help|assist|provide|answer|describe|analy[sz]e|comply|fulfil+|give|offer|generate|determine|identify|access|find|recommend|introduce)"  # noqa: E501
_DECLINES = re.compile(
    rf"""
    \bas\s+an?\s+(?:ai|artificial\s+intelligence|(?:large\s+)?language\s+model)\b
  | \bi(?:\s+a|[’'])m\s+(?:just\s+|only\s+)?an?\s+(?:ai|(?:large\s+)?language\s+model)\b
  | ^\W*(?:i(?:\s+a|[’'])m\s+(?:so\s+|very\s+|truly\s+)?sorry|sorry|apologies|i\s+apologi[sz]e|(?:unfortunately|regrettably),?\s+i)\b
  | \bi(?:\s+|(?=[’'])){_NOT}\s+(?:\w+\s+)?{_ACT}\b
  | \bi\s+(?:do\s+not|don[’']?t)\s+(?:currently\s+|actually\s+)?have\s+(?:any\s+|enough\s+|sufficient\s+|specific\s+|detailed\s+|much\s+|reliable\s+|direct\s+)*(?:information|access|knowledge|details|data)\b
  | \bi(?:\s+a|[’'])m\s+not\s+(?:familiar|aware)\b
  | \bi\s+have\s+no\s+(?:information|knowledge|record|data)\b
  | \bmy\s+(?:knowledge\s+cut-?off|training\s+data\s+(?:does|only))\b
    """,  # noqa: E501
    re.IGNORECASE | re.VERBOSE,
)
_ASKS = re.compile(
    r"""
    \b(?:please|could\s+you|can\s+you|would\s+you)\s+(?:please\s+|kindly\s+)?
      (?:provide|specify|share|clarify|give|tell|supply)\b
  | \bi\s+(?:would\s+|will\s+|[’']d\s+)?need\s+(?:to\s+know|more|specific|additional|further)\b
  | \b(?:it\s+is|it[’']s)\s+not\s+possible\s+to\s+(?:describe|provide|determine|analy[sz]e)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


def refusal(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """The words with which a text declines."""
    if answer.finish_reason == _REFUSED:
        return f"the service reports a refusal: {answer.text}"
    found = _DECLINES.search(answer.text[:_OPENING_CHARACTERS])
    if found is None and len(answer.text) < _SHORT_CHARACTERS:
        found = _ASKS.search(answer.text)
    return f"says '{found[0].strip()}'" if found else None


def content_filter(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """What the service reports about a text that it does not let through."""
    if answer.finish_reason != _FILTERED:
        return None
    return f"the service reports finish_reason '{_FILTERED}'"
