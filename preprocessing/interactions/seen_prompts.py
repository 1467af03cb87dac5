"""What each user's prompts showed to the LLM."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from configs.knowledge import SourceAnswers
from preprocessing.knowledge.answers import RejectedAnswer, parse_answer, read_answer_lines
from preprocessing.knowledge.factors import recorded_source
from preprocessing.records.contract import INDIVIDUAL

_DIGEST_BYTES = 32


class SeenPrompt(NamedTuple):
    """The prompt of one accepted answer about a user.

    Attributes:
      source: name of the answer's source.
      user: the user it is about.
      file_order: place of its file in the configuration.
      line: line number in the file; of a user's answers, the first one is used.
      prompt: what the LLM was asked; None if the answer does not say.
      recorded: how many of the user's first interactions the prompt was made from, as the answer's
        field `interactions_seen` says; None if it does not.
    """

    source: str
    user: str
    file_order: int
    line: int
    prompt: str | None
    recorded: int | None = None


def read_seen_prompts(source: str, answers: SourceAnswers) -> Iterator[list[SeenPrompt]]:
    """Reads the prompts of a source's individual answers.

    Args:
      source: name of a user source.
      answers: its configuration.

    Yields:
      Batches of prompts. Answers that are not accepted make no knowledge and are left out.
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
                batch.append(
                    SeenPrompt(
                        source,
                        answer.entity_id,
                        file_order,
                        number,
                        answer.prompt,
                        answer.interactions_seen,
                    )
                )
            yield batch


def digest_seen_prompts(
    answers: Mapping[str, SourceAnswers], sources: Iterable[str]
) -> dict[str, str]:
    """Digests of the prompts of sources: equal when their answers were asked for in the same words.

    The digest is a sum of hashes, one of each answer's user, file, prompt and recorded
    interactions. So it needs no memory, and neither the order of lines nor what the LLM wrote
    changes it.

    Args:
      answers: configuration of all sources.
      sources: the sources whose prompts are compared with the log.

    Returns:
      Source -> digest, hexadecimal. Sources that are factors of the same answers share one.
    """
    digests: dict[str, str] = {}
    read: dict[tuple[str, tuple[str, ...]], str] = {}
    for source in sources:
        described = answers[source]
        what_is_read = (recorded_source(source, described.factor), tuple(described.individual))
        if what_is_read not in read:
            read[what_is_read] = _digest(source, described)
        digests[source] = read[what_is_read]
    return digests


def _digest(source: str, answers: SourceAnswers) -> str:
    total = 0
    for batch in read_seen_prompts(source, answers):
        for seen in batch:
            fields = [seen.user, seen.file_order, seen.prompt, seen.recorded]
            hashed = hashlib.blake2b(json.dumps(fields).encode(), digest_size=_DIGEST_BYTES)
            total += int.from_bytes(hashed.digest(), "little")
    return (total % (1 << 8 * _DIGEST_BYTES)).to_bytes(_DIGEST_BYTES, "big").hex()
