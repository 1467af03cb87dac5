"""Output and error files of OpenAI's Batch API; `custom_id` says what a line is about."""

from __future__ import annotations

from collections.abc import Mapping

from preprocessing.generation.completion import Completion, completion_of_batch_line
from preprocessing.importing.foreign_record import Expected, ForeignRecord
from preprocessing.knowledge.answers import (
    INTERACTIONS_SEEN,
    RejectedAnswer,
    answer_of,
    text_field,
)
from preprocessing.knowledge.custom_ids import split_custom_id


def is_batch_line(document: Mapping[str, object]) -> bool:
    """Whether a line is one of a batch output or error file."""
    return "custom_id" in document and "response" in document


def read_batch_line(document: Mapping[str, object], expected: Expected) -> ForeignRecord:
    """Reads a line.

    Raises:
      RejectedAnswer: it is not a usable answer.
    """
    return record_of_completion(document, completion_of_batch_line(document), expected)


def record_of_completion(
    document: Mapping[str, object], completion: Completion, expected: Expected
) -> ForeignRecord:
    """The answer to the request that a line's `custom_id` names.

    Raises:
      RejectedAnswer: it is not a usable answer.
    """
    custom_id = text_field(document, "custom_id")
    record = {
        **_asked(custom_id, expected),
        "custom_id": custom_id,
        "model": completion.model or expected.model,
        "answer": completion.text,
        "usage": completion.usage,
    }
    answer = answer_of(record, expected.source, expected.extraction)
    return ForeignRecord(answer, completion.finish_reason)


def _asked(custom_id: str, expected: Expected) -> dict[str, object]:
    """What the request was about: from its prompt where there are prompts, else from its name."""
    if expected.prompts is not None:
        prompt = expected.prompts.get(custom_id)
        if prompt is None:
            raise RejectedAnswer("unknown_custom_id", "no prompt has this custom_id")
        return {
            "source": prompt.source,
            "entity_id": prompt.entity_id,
            "extraction": prompt.extraction,
            "prompt": prompt.text,
            INTERACTIONS_SEEN: prompt.interactions_seen,
        }
    parts = split_custom_id(custom_id)
    if parts is None:
        raise RejectedAnswer(
            "invalid_custom_id", "field 'custom_id' must be built like 'item/318' or 'item/group/7'"
        )
    source, extraction, entity_id = parts
    return {"source": source, "entity_id": entity_id, "extraction": extraction}
