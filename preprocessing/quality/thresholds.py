"""Thresholds of the quality checks."""

from __future__ import annotations

from dataclasses import dataclass

TRUNCATION_LEVELS = ("off", "clear", "likely", "strict")
LANGUAGES = ("any", "en")


@dataclass(frozen=True)
class Thresholds:
    """When an answer counts as bad.

    The defaults accept every answer bundled in `examples/` and nearly all published ones.

    Attributes:
      minimum_characters: a shorter answer is too short.
      maximum_characters: a longer answer is too long.
      truncation: how sure the check must be that a text ends inside a sentence; what a service
        reports itself always counts. "off": look at the service's report alone; "clear": the text
        ends with a comma, an opening bracket or a word such as "the"; "likely": or running text
        ends without a full stop; "strict": or any text does.
      language: "en", or "any" for no check.
      maximum_echo: largest share of an answer's word 5-grams that its prompt may hold.
      maximum_repetition: largest share of word 4-grams that may be repetitions, in the whole text
        and in its last words.
      maximum_bad_characters: number of replacement, control and mis-decoded characters allowed.
      maximum_placeholders: number of gaps such as "[unknown]" or "{name}" allowed.
      allow_duplicates: whether two entities may have the same answer.
    """

    minimum_characters: int = 20
    maximum_characters: int = 20_000
    truncation: str = "likely"
    language: str = "any"
    maximum_echo: float = 0.6
    maximum_repetition: float = 0.5
    maximum_bad_characters: int = 0
    maximum_placeholders: int = 0
    allow_duplicates: bool = False
