"""What the readers of all formats take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from preprocessing.generation.prompts import Prompt
from preprocessing.knowledge.answers import Answer


@dataclass(frozen=True)
class Expected:
    """What the command line says about the answers.

    Attributes:
      source: their source; None takes any.
      extraction: "individual" or "collective"; None takes what a file says.
      model: the LLM, where a file does not say.
      prompts: custom id -> prompt that was sent; None if unknown.
      unnamed_source: what stands for the source of answers whose file names none.
    """

    source: str | None = None
    extraction: str | None = None
    model: str | None = None
    prompts: Mapping[str, Prompt] | None = None
    unnamed_source: str = "unknown"


@dataclass(frozen=True)
class ForeignRecord:
    """A record of any format.

    Attributes:
      answer: the answer.
      finish_reason: why the LLM stopped, as its service reports it; None if unknown.
    """

    answer: Answer
    finish_reason: str | None = None
