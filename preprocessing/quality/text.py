"""An answer's text, cut into words once for all checks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# str.strip() would take control characters away before the check that looks for them.
_WHITE_SPACE = " \t\r\n"


def words_of(text: str) -> list[str]:
    """Words in lower case; punctuation, symbols and white space are left out."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(units: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All sequences of n neighbouring units."""
    return list(zip(*(units[start:] for start in range(n)), strict=False))


class AnswerText:
    """What the checks look at.

    Attributes:
      text: what the LLM wrote, without blanks and line breaks around it.
      prompt: what it was asked; None if unknown.
      finish_reason: why the LLM stopped, as its service reports it; None if unknown.
    """

    def __init__(self, text: str, prompt: str | None = None, finish_reason: str | None = None):
        self.text = text.strip(_WHITE_SPACE)
        self.prompt = prompt
        self.finish_reason = finish_reason

    @cached_property
    def words(self) -> list[str]:
        """Words of the text; see `words_of`."""
        return words_of(self.text)

    @cached_property
    def prompt_words(self) -> list[str]:
        """Words of the prompt; none when it is unknown."""
        return words_of(self.prompt or "")
