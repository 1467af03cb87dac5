"""The formats that answers come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from preprocessing.importing.foreign_record import Expected, ForeignRecord
from preprocessing.importing.id_object_formats import (
    is_id_text,
    is_klg,
    read_id_text_entry,
    read_klg_entry,
)
from preprocessing.importing.openai_batch_format import is_batch_line, read_batch_line
from preprocessing.importing.openai_chat_format import is_chat_line, read_chat_line
from preprocessing.importing.records_format import is_record, read_record

Document: TypeAlias = Mapping[str, object]


@dataclass(frozen=True)
class LineFormat:
    """One JSON object a line.

    Attributes:
      description: for people.
      recognises: whether an object is a line of this format.
      read: line to record; raises RejectedAnswer.
    """

    description: str
    recognises: Callable[[Document], bool]
    read: Callable[[Document, Expected], ForeignRecord]


@dataclass(frozen=True)
class ObjectFormat:
    """One JSON object a file, an entry per entity.

    Attributes:
      description: for people.
      recognises: whether an object is a file of this format.
      read: entity id and value to record; raises RejectedAnswer.
    """

    description: str
    recognises: Callable[[Document], bool]
    read: Callable[[str, object, Expected], ForeignRecord]


AUTO = "auto"

FORMATS: Mapping[str, LineFormat | ObjectFormat] = {
    "records": LineFormat("this project's answer records, JSON lines", is_record, read_record),
    "openai-batch": LineFormat(
        "OpenAI batch output, JSON lines; custom_id is 'item/318' or 'item/group/7'",
        is_batch_line,
        read_batch_line,
    ),
    "openai-chat": LineFormat(
        "chat completion objects, JSON lines; the group id in 'prompt' (REKI's knowledge.json)",
        is_chat_line,
        read_chat_line,
    ),
    "klg": ObjectFormat(
        'JSON object, id -> {"prompt", "answer" or "ans"} (KAR\'s .klg)', is_klg, read_klg_entry
    ),
    "id-text": ObjectFormat("JSON object, id -> text", is_id_text, read_id_text_entry),
}
"""Name -> format."""
