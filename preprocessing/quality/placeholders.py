"""Gaps that the LLM left for somebody else to fill: "[unknown]", "{name}", "<title>", "N/A"."""

from __future__ import annotations

import re

from preprocessing.quality.text import AnswerText
from preprocessing.quality.thresholds import Thresholds

# Brackets alone say nothing ("[Rec]" is a film, "<b>" a tag): what stands in them must be a gap's
# name, or an order to fill it.
_DETERMINER = (
    r"(?:the|this|your|my|an?|first|last|full|main|specific|relevant|other|another|some)[\s_-]+"
)
_OWNER = (
    r"(?:movie|film|book|item|user|artist|author|director|actor|actress|band|song|track|album|game"
    r"|product|brand|character|company|series|show|release|reader|viewer|customer|person)"
)
_NO_VALUE = (
    r"(?:unknown|unspecified|undefined|untitled|unnamed|n\s?/\s?a|tbd|tba|todo|xxx+|placeholder"
    r"|redacted|blank|null|none|not[\s_-](?:available|specified|provided|given|applicable|known))"
)
_FIELD = (
    r"(?:name|title|id|genres?|year|date|number|plot|themes?|summary|description|details|text|topic"
    r"|here|category|country|language|location|city|age|gender|occupation|keywords?|characters?)"
)
_GAP = (
    rf"(?:{_DETERMINER})*(?:{_NO_VALUE}|(?:{_OWNER}(?:['’]s)?[\s_-]+)?{_FIELD}|{_OWNER})"
    r"(?:[\s_-]+(?:here|\d+|[a-z]))?"
)
_ORDER = r"(?:insert|enter|fill\s+in|add|specify|replace|provide)\s[^\[\]<>{}\n]{1,80}"
_INSIDE = rf"\s*(?:{_GAP}|{_ORDER})\s*"
_PLACEHOLDER = re.compile(
    rf"""
    \[{_INSIDE}\](?!\()                                       # not a Markdown link
  | <{_INSIDE}>
  | (?<![\w^\\}}])\$?\{{{{?\s*[a-z_][\w.-]*(?:\ [\w.-]+){{0,3}}\s*\}}\}}?(?!\}})   # not LaTeX
  | \(\s*insert\s[^()\n]{{1,80}}\shere\s*\)
  | %\([a-z_]\w*\)s
  | (?<=\w\ )n/a(?=\ \w) | \b(?:is|are|was|were|by|of|called|titled|named)\ n/a(?![\w/])
  | \blorem\s+ipsum\b
  | (?<=[^\s_])[^\S\n]+_{{3,}}(?!\w)                           # not a Markdown rule
    """,
    re.IGNORECASE | re.VERBOSE,
)

# "Author: N/A" is right about a film. A text that consists of such lines says nothing.
_NOT_APPLICABLE = re.compile(r"(?<![\w/])n/a(?![\w/])", re.IGNORECASE)
_WORDS_PER_NOT_APPLICABLE = 8


def placeholder(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """Which gaps a text leaves open."""
    found = [match[0].strip() for match in _PLACEHOLDER.finditer(answer.text)]
    not_applicable = _NOT_APPLICABLE.findall(answer.text)
    if not_applicable and len(answer.words) <= _WORDS_PER_NOT_APPLICABLE * len(not_applicable):
        found += not_applicable
    if len(found) <= thresholds.maximum_placeholders:
        return None
    return f"{len(found)} placeholders: {', '.join(dict.fromkeys(found))}"
