"""How many interactions each user's prompt showed to the LLM."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from configs.knowledge import SourceAnswers
from preprocessing.knowledge.answers import RejectedAnswer, parse_answer, read_answer_lines
from preprocessing.knowledge.factors import recorded_source
from preprocessing.records.contract import INDIVIDUAL

_DIGEST_BYTES = 32


class SeenCount(NamedTuple):
    """What the prompt of one accepted answer showed.

    Attributes:
      source: name of the answer's source.
      user: the user it is about.
      file_order: place of its file in the configuration.
      line: line number in the file; of a user's answers, the first one is used.
      shown: interactions in the prompt; 0 when there is no prompt, or nothing in it was recognised
        as an interaction.
      recorded: how many of the user's first interactions the prompt was made from, as the answer's
        field `interactions_seen` says; None if it does not.
    """

    source: str
    user: str
    file_order: int
    line: int
    shown: int
    recorded: int | None = None

    @property
    def reach(self) -> int:
        """How many first interactions of the user the LLM knows of, as far as can be told."""
        return max(self.shown, self.recorded or 0)

    def is_certain(self, boundary: int) -> bool:
        """True when the prompt cannot reach farther than `reach`.

        A prompt may leave interactions out, such as those with an item without title, so a count of
        those shown is no more than a lower bound. It is certain where the answer records how many
        interactions there were; or where the prompt shows all k_u, and so had none to leave out.

        Args:
          boundary: k_u, the number of first interactions the LLM may have seen.
        """
        return self.shown > 0 and (self.recorded is not None or self.shown >= boundary)


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
                batch.append(
                    SeenCount(
                        source,
                        answer.entity_id,
                        file_order,
                        number,
                        shown,
                        answer.interactions_seen,
                    )
                )
            yield batch


def digest_seen_counts(
    answers: Mapping[str, SourceAnswers], patterns: Mapping[str, re.Pattern[str]]
) -> dict[str, str]:
    """Digests of what the prompts of sources show: equal when their answers show the same.

    The digest is a sum of hashes, one of each answer's user, file, shown and recorded interactions.
    So it needs no memory, and neither the order of lines nor what the LLM wrote changes it.

    Args:
      answers: configuration of all sources.
      patterns: source -> what matches once per interaction in its prompts.

    Returns:
      Source -> digest, hexadecimal. Sources that are factors of the same answers share one.
    """
    digests: dict[str, str] = {}
    read: dict[tuple[str, str, tuple[str, ...]], str] = {}
    for source, pattern in patterns.items():
        described = answers[source]
        recorded = recorded_source(source, described.factor)
        what_is_read = (recorded, pattern.pattern, tuple(described.individual))
        if what_is_read not in read:
            read[what_is_read] = _digest(source, described, pattern)
        digests[source] = read[what_is_read]
    return digests


def _digest(source: str, answers: SourceAnswers, pattern: re.Pattern[str]) -> str:
    total = 0
    for batch in read_seen_counts(source, answers, pattern):
        for count in batch:
            fields = [count.user, count.file_order, count.shown, count.recorded]
            hashed = hashlib.blake2b(json.dumps(fields).encode(), digest_size=_DIGEST_BYTES)
            total += int.from_bytes(hashed.digest(), "little")
    return (total % (1 << 8 * _DIGEST_BYTES)).to_bytes(_DIGEST_BYTES, "big").hex()
