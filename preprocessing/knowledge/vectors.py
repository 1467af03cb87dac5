"""Knowledge vectors: rounded, checked, and written as TFRecords."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.knowledge.accepting import LocatedAnswer
from preprocessing.records import contract
from preprocessing.records.tfrecord_file import write_records
from preprocessing.records.wire import (
    BytesColumn,
    Column,
    FloatSequence,
    RaggedFloatColumn,
    encode_examples,
)


@dataclass(frozen=True, order=True)
class KnowledgeRecord:
    """One record of a knowledge TFRecord file.

    Attributes:
      entity_id: item or user id.
      extraction: "individual" or "collective".
      group_id: group of the entity, "" when it has none.
      vector: float16 numbers as bytes.
    """

    entity_id: str
    extraction: str
    group_id: str
    vector: bytes


def usable_vectors(
    answers: list[LocatedAnswer], vectors: np.ndarray
) -> tuple[list[tuple[LocatedAnswer, bytes]], list[DeadLetter]]:
    """Rounds vectors to float16 and rejects those without content.

    Args:
      answers: what was encoded.
      vectors: [answers, dimension], its vectors.

    Returns:
      Each usable answer with its vector's bytes, and dead letters for vectors that are all zeros or
      hold a number that is not finite in float16.
    """
    with np.errstate(over="ignore"):
        rounded = vectors.astype(np.float16)
    usable, dead_letters = [], []
    for answer, vector in zip(answers, rounded, strict=True):
        if not np.isfinite(vector).all():
            detail = "the encoder made a number that is not finite in float16"
            dead_letters.append(dead_letter(answer.file, answer.line, "non_finite_vector", detail))
        elif not vector.any():
            detail = "the encoder found nothing in the answer"
            dead_letters.append(dead_letter(answer.file, answer.line, "zero_vector", detail))
        else:
            usable.append((answer, vector.tobytes()))
    return usable, dead_letters


def write_knowledge(path: Path, records: Iterable[KnowledgeRecord]) -> int:
    """Writes records sorted by entity id; returns their number."""
    ordered = sorted(records)
    values = np.frombuffer(b"".join(record.vector for record in ordered), dtype=np.float16)
    sizes = np.array([len(record.vector) // 2 for record in ordered], dtype=np.int64)
    ends = np.cumsum(sizes)
    columns: dict[str, Column] = {
        contract.ENTITY_ID: BytesColumn([record.entity_id.encode() for record in ordered]),
        contract.VECTOR: RaggedFloatColumn(FloatSequence(values), ends - sizes, ends),
        contract.EXTRACTION: BytesColumn([record.extraction.encode() for record in ordered]),
        contract.GROUP_ID: BytesColumn([record.group_id.encode() for record in ordered]),
    }
    return write_records(path, encode_examples(columns))
