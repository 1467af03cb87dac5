"""The formats that answers come in, and which of them a file has."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from configs.command_line import CommandError
from preprocessing.answers.completion import Completion, completion_of, completion_of_batch_line
from preprocessing.answers.prompts import Prompt
from preprocessing.answers.record import (
    INTERACTIONS_SEEN,
    MEMBERS,
    Answer,
    RejectedAnswer,
    answer_of,
    json_object,
    numbered_lines,
    refuse_json_constant,
    split_custom_id,
    text_field,
)
from preprocessing.inputs import PARQUET_SUFFIX, open_input
from preprocessing.records.contract import COLLECTIVE, INDIVIDUAL


@dataclass(frozen=True)
class Expected:
    """What the command line says about the answers.

    Attributes:
      source: their source; None takes any.
      extraction: "individual" or "collective"; None takes what a file says.
      model: the LLM, where a file does not say.
      prompts: custom id -> prompt that was sent; None if unknown.
      unnamed_source: what stands for the source of answers whose file names none.
    """

    source: str | None = None
    extraction: str | None = None
    model: str | None = None
    prompts: Mapping[str, Prompt] | None = None
    unnamed_source: str = "unknown"


MOST_BYTES = 512 << 20
"""Bytes of the largest file that is one JSON object, decompressed: it is read at once."""


class Pairs(list[tuple[str, object]]):
    """A JSON object as it is written: an id that occurs twice is there twice."""


def read_json_object(path: str, most_bytes: int = MOST_BYTES) -> Pairs:
    """The entries of a file that is one JSON object; objects within are dictionaries.

    Raises:
      CommandError: it is something else, and the message names the place; or it has more than
        `most_bytes`.
    """
    with open_input(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise CommandError(
            f"{path}: more than {most_bytes >> 20} MB, decompressed, as one JSON object; write its "
            "entries as JSON lines (docs/importing.md, --format records), or as several files"
        )
    try:
        document = json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=Pairs, parse_constant=refuse_json_constant
        )
        if isinstance(document, Pairs):
            return Pairs((key, _plain(value)) for key, value in document)
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error
    except json.JSONDecodeError as error:
        raise CommandError(
            f"{path}: not a JSON object: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path}: not a JSON object: {error}") from error
    raise CommandError(
        f"{path}: not a JSON object but a {type(document).__name__}, at line 1, column 1"
    )


def _plain(value: object) -> object:
    if isinstance(value, Pairs):
        return {key: _plain(inner) for key, inner in value}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def is_record(document: Mapping[str, object]) -> bool:
    """Whether a line is an answer record."""
    return "entity_id" in document and "answer" in document


def read_record(document: Mapping[str, object], expected: Expected) -> Answer:
    """Reads a line.

    Raises:
      RejectedAnswer: it is not a usable answer.
    """
    completed = {**document, "model": document.get("model") or expected.model}
    return answer_of(completed, expected.source, expected.extraction)


def is_batch_line(document: Mapping[str, object]) -> bool:
    """Whether a line is one of a batch output or error file."""
    return "custom_id" in document and "response" in document


def read_batch_line(document: Mapping[str, object], expected: Expected) -> Answer:
    """Reads a line.

    Raises:
      RejectedAnswer: it is not a usable answer.
    """
    return record_of_completion(document, completion_of_batch_line(document), expected)


def record_of_completion(
    document: Mapping[str, object], completion: Completion, expected: Expected
) -> Answer:
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
        "finish_reason": completion.finish_reason,
    }
    return answer_of(record, expected.source, expected.extraction)


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
            MEMBERS: None if prompt.members is None else list(prompt.members),
        }
    parts = split_custom_id(custom_id)
    if parts is None:
        raise RejectedAnswer(
            "invalid_custom_id", "field 'custom_id' must be built like 'item/318' or 'item/group/7'"
        )
    source, extraction, entity_id = parts
    return {"source": source, "entity_id": entity_id, "extraction": extraction}


def is_chat_line(document: Mapping[str, object]) -> bool:
    """Whether a line is a completion object."""
    return isinstance(document.get("choices"), list)


def read_chat_line(document: Mapping[str, object], expected: Expected) -> Answer:
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
        "finish_reason": completion.finish_reason,
        "entity_id": str(group) if numbered else group,
    }
    return answer_of(record, None, None)


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


def read_klg_entry(entity_id: str, value: object, expected: Expected) -> Answer:
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


def read_id_text_entry(entity_id: str, value: object, expected: Expected) -> Answer:
    """Reads an entry that is a text.

    Raises:
      RejectedAnswer: it is not a usable answer.
    """
    return _entry(entity_id, None, value, expected)


def _entry(entity_id: str, prompt: object, answer: object, expected: Expected) -> Answer:
    record = {
        "source": expected.source or expected.unnamed_source,
        "entity_id": entity_id,
        "extraction": expected.extraction or INDIVIDUAL,
        "model": expected.model,
        "prompt": prompt,
        "answer": "" if answer is None else answer,
    }
    return answer_of(record, None, None)


Document: TypeAlias = Mapping[str, object]


@dataclass(frozen=True)
class LineFormat:
    """One JSON object a line.

    Attributes:
      description: for people.
      recognises: whether an object is a line of this format.
      read: line to answer; raises RejectedAnswer.
    """

    description: str
    recognises: Callable[[Document], bool]
    read: Callable[[Document, Expected], Answer]


@dataclass(frozen=True)
class ObjectFormat:
    """One JSON object a file, an entry per entity.

    Attributes:
      description: for people.
      recognises: whether an object is a file of this format.
      read: entity id and value to answer; raises RejectedAnswer.
    """

    description: str
    recognises: Callable[[Document], bool]
    read: Callable[[str, object, Expected], Answer]


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

_SAMPLE_LINES = 20


def detect_format(path: str) -> str:
    """Name of a file's format.

    The first lines decide; a file whose lines are no JSON objects, or whose only line is one, is
    looked at as a whole.

    Raises:
      CommandError: it is empty, in none of the formats, or looks like several.
    """
    if next(numbered_lines(path), None) is None:
        raise CommandError(f"{path}: the file is empty")
    sample = list(itertools.islice(_json_lines(path), _SAMPLE_LINES))
    names = {name for document in sample for name in _line_formats(document)}
    if not names and len(sample) < 2 and not path.endswith(PARQUET_SUFFIX):
        names = set(_object_formats(dict(read_json_object(path))))
    if len(names) == 1:
        return names.pop()
    choices = ", ".join(sorted(names or FORMATS))
    problem = f"looks like several formats ({choices})" if names else "has no format known here"
    raise CommandError(f"{path}: {problem}; say which it is with --format: {choices}")


def _json_lines(path: str) -> Iterator[Document]:
    for _, line in numbered_lines(path):
        try:
            yield json_object(line)
        except RejectedAnswer:
            continue


def _line_formats(document: Document) -> list[str]:
    return [
        name
        for name, form in FORMATS.items()
        if isinstance(form, LineFormat) and form.recognises(document)
    ]


def _object_formats(document: Document) -> list[str]:
    return [
        name
        for name, form in FORMATS.items()
        if isinstance(form, ObjectFormat) and form.recognises(document)
    ]
