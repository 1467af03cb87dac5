"""Chat completion objects, one a line, as the authors of REKI published their group knowledge.

Added to the object: `prompt`, the group id, and `prompt_txt`, the prompt. Lines with a `custom_id`
instead are read too.
"""

from __future__ import annotations

from collections.abc import Mapping

from preprocessing.generation.completion import completion_of
from preprocessing.importing.foreign_record import Expected, ForeignRecord
from preprocessing.importing.openai_batch_format import record_of_completion
from preprocessing.knowledge.answers import answer_of
from preprocessing.records.contract import COLLECTIVE


def is_chat_line(document: Mapping[str, object]) -> bool:
    """Whether a line is a completion object."""
    return isinstance(document.get("choices"), list)


def read_chat_line(document: Mapping[str, object], expected: Expected) -> ForeignRecord:
    """Reads a line.

    Raises:
      RejectedAnswer: it is not a usable answer.
    """
    completion = completion_of(document)
    if "prompt" not in document and "custom_id" in document:
        return record_of_completion(document, completion, expected)
    group = document.get("prompt")
    numbered = isinstance(group, int) and not isinstance(group, bool)
    record = {
        "source": expected.source or expected.unnamed_source,
        "extraction": expected.extraction or COLLECTIVE,
        "model": completion.model or expected.model,
        "prompt": document.get("prompt_txt"),
        "answer": completion.text,
        "usage": completion.usage,
        "entity_id": str(group) if numbered else group,
    }
    return ForeignRecord(answer_of(record, None, None), completion.finish_reason)
