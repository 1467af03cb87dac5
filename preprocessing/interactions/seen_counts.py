"""How many interactions each user's prompt showed to the LLM."""

from __future__ import annotations

import re
from collections.abc import Iterator

from configs.scenario import SourceAnswers
from preprocessing.knowledge.answers import RejectedAnswer, parse_answer, read_answer_lines
from preprocessing.records.contract import INDIVIDUAL


def read_seen_counts(
    source: str, answers: SourceAnswers, pattern: re.Pattern[str]
) -> Iterator[list[tuple[str, int]]]:
    """Counts what the prompts of a source show.

    Args:
      source: name of a user source.
      answers: its configuration.
      pattern: matches once per interaction in a prompt.

    Yields:
      Batches of (user, number of matches). Answers that are not accepted make no knowledge and are
      left out, as are prompts without any match, which say nothing.
    """
    for path in answers.individual:
        for lines in read_answer_lines(path, INDIVIDUAL):
            batch = []
            for _, line in lines.numbered():
                try:
                    answer = parse_answer(line, source, INDIVIDUAL)
                except RejectedAnswer:
                    continue
                seen = sum(1 for _ in pattern.finditer(answer.prompt or ""))
                if seen:
                    batch.append((answer.entity_id, seen))
            yield batch
