"""Files that are one JSON object with an entry per entity."""

from __future__ import annotations

from collections.abc import Mapping

from preprocessing.importing.foreign_record import Expected, ForeignRecord
from preprocessing.knowledge.answers import RejectedAnswer, answer_of
from preprocessing.records.contract import INDIVIDUAL

_KLG_ANSWERS = ("answer", "ans")
_RECORD_FIELDS = frozenset({"answer", "ans", "prompt", "entity_id", "custom_id"})


def is_klg(document: Mapping[str, object]) -> bool:
    """Whether an object is a `.klg` file of KAR: id -> {"prompt", "answer" or "ans"}."""
    values = document.values()
    return all(isinstance(value, dict) for value in values) and any(
        name in value for value in values if isinstance(value, dict) for name in _KLG_ANSWERS
    )


def is_id_text(document: Mapping[str, object]) -> bool:
    """Whether an object maps ids to texts."""
    if not document or _RECORD_FIELDS & document.keys():
        return False
    return all(value is None or isinstance(value, str) for value in document.values())


def read_klg_entry(entity_id: str, value: object, expected: Expected) -> ForeignRecord:
    """Reads an entry of a `.klg` file.

    Raises:
      RejectedAnswer: it is not a usable answer.
    """
    if not isinstance(value, dict):
        raise RejectedAnswer("wrong_type", "the entry must be an object with 'prompt' and 'answer'")
    name = next((name for name in _KLG_ANSWERS if name in value), "answer")
    if name not in value:
        raise RejectedAnswer("missing_field", "there is no field 'answer' or 'ans'")
    return _entry(entity_id, value.get("prompt"), value[name], expected)


def read_id_text_entry(entity_id: str, value: object, expected: Expected) -> ForeignRecord:
    """Reads an entry that is a text.

    Raises:
      RejectedAnswer: it is not a usable answer.
    """
    return _entry(entity_id, None, value, expected)


def _entry(entity_id: str, prompt: object, answer: object, expected: Expected) -> ForeignRecord:
    record = {
        "source": expected.source or expected.unnamed_source,
        "entity_id": entity_id,
        "extraction": expected.extraction or INDIVIDUAL,
        "model": expected.model,
        "prompt": prompt,
        "answer": "" if answer is None else answer,
    }
    return ForeignRecord(answer_of(record, None, None))
