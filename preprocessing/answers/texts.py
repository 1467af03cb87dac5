"""Which text of an answer is encoded, and the history of its prompt beside it."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from configs.knowledge import Encoder, SourceAnswers
from preprocessing.answers.record import Answer, factor_text, recorded_source


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

    def to_encode(self, answer: Answer) -> Answer:
        """The answer with the text to encode, and without prompt and other fields.

        Raises:
          RejectedAnswer: see `factor_text`.
        """
        text = answer.text if self.factor is None else factor_text(answer, self.factor)
        history = ""
        if self.order != "answer" and answer.prompt is not None and self.history_entry is not None:
            history = history_part(answer.prompt, self.history_entry)
        return Answer(
            source=answer.source,
            entity_id=answer.entity_id,
            extraction=answer.extraction,
            text=with_history(text, history, self.order) if history else text,
            location=answer.location,
            lacks_history=self.order != "answer" and not history,
        )


def answer_texts(source: str, answers: SourceAnswers, encoder: Encoder) -> AnswerTexts:
    """What the configuration asks for."""
    recorded = recorded_source(source, answers.factor)
    if answers.entity != "user" or encoder.text == "answer":
        return AnswerTexts(recorded, answers.factor)
    entry = answers.history_entry_pattern
    pattern = None if entry is None else re.compile(entry)
    return AnswerTexts(recorded, answers.factor, encoder.text, pattern)


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
