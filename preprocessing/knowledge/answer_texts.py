"""Which text of an answer is encoded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from configs.knowledge import Encoder, SourceAnswers
from configs.loading import ConfigurationError
from preprocessing.knowledge.answers import Answer
from preprocessing.knowledge.factors import factor_text, recorded_source
from preprocessing.knowledge.history_text import history_part, with_history


@dataclass(frozen=True)
class AnswerTexts:
    """Takes the text to encode out of answer records.

    Attributes:
      source: what the records call the source.
      factor: field of structured answers; None for whole answers.
      order: "answer", "answer_and_history" or "history_and_answer".
      history_entry: matches once per interaction shown in a prompt; None if nothing says how.
    """

    source: str
    factor: str | None = None
    order: str = "answer"
    history_entry: re.Pattern[str] | None = None

    def text_of(self, record: Mapping[str, object], answer: Answer) -> tuple[str, bool]:
        """The text to encode.

        Args:
          record: a sound answer record.
          answer: the same, parsed.

        Returns:
          The text, and True when it should hold a history but the prompt shows none.

        Raises:
          RejectedAnswer: see `factor_text`.
        """
        text = answer.text if self.factor is None else factor_text(record, self.factor)
        if self.order == "answer":
            return text, False
        history = ""
        if answer.prompt is not None and self.history_entry is not None:
            history = history_part(answer.prompt, self.history_entry)
        return (with_history(text, history, self.order), False) if history else (text, True)


def answer_texts(source: str, answers: SourceAnswers, encoder: Encoder) -> AnswerTexts:
    """What the configuration asks for.

    Raises:
      ConfigurationError: the pattern of history entries is not a regular expression.
    """
    recorded = recorded_source(source, answers.factor)
    if answers.entity != "user" or encoder.text == "answer":
        return AnswerTexts(recorded, answers.factor)
    pattern = None
    if answers.history_entry_pattern is not None:
        try:
            pattern = re.compile(answers.history_entry_pattern)
        except re.error as error:
            key = f"knowledge.answers.{source}.history_entry_pattern"
            raise ConfigurationError(f"{key}: not a regular expression ({error})") from error
    return AnswerTexts(recorded, answers.factor, encoder.text, pattern)
