"""The history that a user's prompt shows, as a text to encode together with the answer.

REKI (arXiv 2408.10520) encodes a user as history and answer: the order `history_and_answer`.
"""

from __future__ import annotations

import itertools
import re

_INTRODUCTION_END = re.compile(r":\s")
_PUNCTUATION = " \t\r\n.;,"


def history_part(prompt: str, entry: re.Pattern[str]) -> str:
    """The part of a prompt from the start of its first interaction to the end of its last.

    The pattern may match whole entries, or only a mark that every entry has, as ` stars[;.]` does.

    - Whole entries: between two matches there is no letter or digit, nor between the introduction
      and a single match. The history goes from the first match to the last.
    - Marks: the history begins where the introduction ends, and ends with the last mark; where
      every entry has a line of its own, with that line.

    The introduction ends at the first colon before the first match; without a colon, where the
    line of that match begins.

    Args:
      prompt: what the LLM was asked.
      entry: matches once per interaction shown.

    Returns:
      The history without punctuation around it; "" when nothing matches.
    """
    matches = list(entry.finditer(prompt))
    if not matches:
        return ""
    start, end = matches[0].start(), matches[-1].end()
    introduction = _INTRODUCTION_END.search(prompt, 0, start)
    begin = introduction.end() if introduction else prompt.rfind("\n", 0, start + 1) + 1
    gaps = [
        prompt[before.end() : after.start()] for before, after in itertools.pairwise(matches)
    ] or [prompt[begin:start]]
    if any(character.isalnum() for gap in gaps for character in gap):
        if "\n" in prompt[start:end]:
            line_end = prompt.find("\n", end)
            end = len(prompt) if line_end < 0 else line_end
        start = begin
    return prompt[start:end].strip(_PUNCTUATION)


def with_history(answer: str, history: str, order: str) -> str:
    """Answer and history as one text.

    Args:
      answer: what the LLM wrote.
      history: see `history_part`; not empty.
      order: "history_and_answer" (published) or "answer_and_history", which an encoder that cuts
        long texts does not cut the answer from.
    """
    if order == "history_and_answer":
        return f"{history}. {answer}"
    return f"{answer} {history}."
