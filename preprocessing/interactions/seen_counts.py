"""How many interactions each user's prompt showed to the LLM."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from configs.knowledge import SourceAnswers
from preprocessing.knowledge.answers import RejectedAnswer, parse_answer, read_answer_lines
from preprocessing.knowledge.factors import recorded_source
from preprocessing.records.contract import INDIVIDUAL


class SeenCount(NamedTuple):
    """What the prompt of one accepted answer showed.

    Attributes:
      source: name of the answer's source.
      user: the user it is about.
      file_order: place of its file in the configuration.
      line: line number in the file; of a user's answers, the first one is used.
      shown: interactions in the prompt; 0 when there is no prompt, or nothing in it was recognised
        as an interaction.
    """

    source: str
    user: str
    file_order: int
    line: int
    shown: int


def read_seen_counts(
    source: str, answers: SourceAnswers, pattern: re.Pattern[str]
) -> Iterator[list[SeenCount]]:
    """Counts what the prompts of a source show.

    Args:
      source: name of a user source.
      answers: its configuration.
      pattern: matches once per interaction in a prompt.

    Yields:
      Batches of counts. Answers that are not accepted make no knowledge and are left out.
    """
    recorded = recorded_source(source, answers.factor)
    for file_order, path in enumerate(answers.individual):
        for lines in read_answer_lines(path, INDIVIDUAL):
            batch = []
            for number, line in lines.numbered():
                try:
                    answer = parse_answer(line, recorded, INDIVIDUAL)
                except RejectedAnswer:
                    continue
                shown = sum(1 for _ in pattern.finditer(answer.prompt or ""))
                batch.append(SeenCount(source, answer.entity_id, file_order, number, shown))
            yield batch
