"""Knowledge vectors: rounded, checked, and written as TFRecords."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from preprocessing.answers.record import NOWHERE, Answer, Location
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.records import contract
from preprocessing.records.tfrecord_file import write_records
from preprocessing.records.wire import (
    BytesColumn,
    Column,
    FloatSequence,
    RaggedFloatColumn,
    encode_examples,
)
from preprocessing.vector_files import problem_of

NUMBER = np.dtype(np.float16)
"""Numbers of a knowledge vector."""


@dataclass(frozen=True)
class KnowledgeRecord:
    """A vector of one entity: one record of a knowledge TFRecord file.

    Attributes:
      entity_id: item or user id.
      extraction: "individual" or "collective".
      group_id: group of the entity, "" when it has none.
      vector: float16 numbers as bytes.
      location: the answer or vector that it is made from; the first one of an entity counts.
    """

    entity_id: str
    extraction: str
    group_id: str
    vector: bytes
    location: Location = NOWHERE

    @property
    def width(self) -> int:
        """Numbers of the vector."""
        return len(self.vector) // NUMBER.itemsize


def round_vectors(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rounds vectors to float16.

    Args:
      vectors: [rows, dimension].

    Returns:
      [rows, dimension] float16, and [rows] True where the rounded vector has content: only finite
      numbers, and not only zeros.
    """
    with np.errstate(over="ignore"):
        rounded = vectors.astype(NUMBER)
    good = np.logical_and(np.isfinite(rounded).all(axis=1), rounded.any(axis=1))
    return rounded, good


def usable_vectors(
    answers: Sequence[Sequence[Answer]], vectors: np.ndarray, refused: Mapping[int, str]
) -> tuple[list[tuple[Answer, bytes]], list[DeadLetter]]:
    """Gives every answer the vector of its text and rejects those without content.

    Args:
      answers: [texts] the answers with each text.
      vectors: [texts, dimension] rounded vectors.
      refused: row -> why the encoder takes no such text.

    Returns:
      Each usable answer with its vector's bytes, and dead letters for the others.
    """
    usable, dead_letters = [], []
    for row, (text_answers, vector) in enumerate(zip(answers, vectors, strict=True)):
        problem = ("encoder_refused", refused[row]) if row in refused else problem_of(vector)
        for answer in text_answers:
            if problem is None:
                usable.append((answer, vector.tobytes()))
            else:
                dead_letters.append(
                    dead_letter(answer.location.file, answer.location.line, *problem)
                )
    return usable, dead_letters


def write_knowledge(path: str, records: Iterable[KnowledgeRecord]) -> list[KnowledgeRecord]:
    """Writes records sorted by entity id; returns them in that order."""
    ordered = sorted(records, key=operator.attrgetter("entity_id"))
    values = np.frombuffer(b"".join(record.vector for record in ordered), dtype=NUMBER)
    sizes = np.array([record.width for record in ordered], dtype=np.int64)
    ends = np.cumsum(sizes)
    columns: dict[str, Column] = {
        contract.ENTITY_ID: BytesColumn([record.entity_id.encode() for record in ordered]),
        contract.VECTOR: RaggedFloatColumn(FloatSequence(values), ends - sizes, ends),
        contract.EXTRACTION: BytesColumn([record.extraction.encode() for record in ordered]),
        contract.GROUP_ID: BytesColumn([record.group_id.encode() for record in ordered]),
    }
    write_records(path, encode_examples(columns))
    return ordered
