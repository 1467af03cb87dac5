"""This project's own answer records."""

from __future__ import annotations

from collections.abc import Mapping

from preprocessing.importing.foreign_record import Expected, ForeignRecord
from preprocessing.knowledge.answers import answer_of, text_field


def is_record(document: Mapping[str, object]) -> bool:
    """Whether a line is an answer record."""
    return "entity_id" in document and "answer" in document


def read_record(document: Mapping[str, object], expected: Expected) -> ForeignRecord:
    """Reads a line.

    Raises:
      RejectedAnswer: it is not a usable answer.
    """
    known = {**document, "model": document.get("model") or expected.model}
    finish_reason = None
    if document.get("finish_reason") is not None:
        finish_reason = text_field(document, "finish_reason")
    return ForeignRecord(answer_of(known, expected.source, expected.extraction), finish_reason)
