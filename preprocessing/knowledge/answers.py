"""Answer files: JSON lines, each checked on its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from preprocessing.inputs import open_input

_LINES_PER_BATCH = 256
_REQUIRED = ("source", "entity_id", "extraction", "answer")
_OPTIONAL = ("prompt", "prompt_sha256")


@dataclass(frozen=True)
class AnswerLines:
    """Some lines of an answer file.

    Attributes:
      path: the file.
      extraction: which answers the configuration expects there, "individual" or "collective".
      first_line: line number of the first line, counted from 1.
      lines: the lines, without line breaks.
    """

    path: str
    extraction: str
    first_line: int
    lines: list[bytes]

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Line numbers and lines; blank lines are left out."""
        for number, line in enumerate(self.lines, start=self.first_line):
            if line.strip():
                yield number, line


@dataclass(frozen=True)
class Answer:
    """An accepted answer.

    Attributes:
      entity_id: item, user or group id.
      text: what the LLM wrote.
      prompt: what it was asked; None if the file does not say.
    """

    entity_id: str
    text: str
    prompt: str | None


class RejectedAnswer(Exception):
    """A line is not a usable answer.

    Attributes:
      reason: a fixed name that can be counted.
      detail: what was found, without ids.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def read_answer_lines(path: str, extraction: str) -> Iterator[AnswerLines]:
    """Reads an answer file (.jsonl or .jsonl.gz) in batches of lines."""
    with open_input(path) as file:
        first_line, lines = 1, []
        for line in file:
            lines.append(line.rstrip(b"\r\n"))
            if len(lines) == _LINES_PER_BATCH:
                yield AnswerLines(path, extraction, first_line, lines)
                first_line, lines = first_line + len(lines), []
        if lines:
            yield AnswerLines(path, extraction, first_line, lines)


def parse_answer(line: bytes, source: str, extraction: str) -> Answer:
    """Reads one line and checks everything that can be checked without other lines.

    Args:
      line: a JSON object with source, entity_id, extraction and answer, perhaps prompt and
        prompt_sha256 (SHA-256 of the prompt's UTF-8 bytes).
      source: the source that the configuration names for the file.
      extraction: the extraction that the configuration names for the file.

    Raises:
      RejectedAnswer: the line is not a usable answer.
    """
    record = _json_object(line)
    fields = {name: _text(record, name) for name in _REQUIRED}
    optional = {name: _text(record, name) for name in _OPTIONAL if record.get(name) is not None}
    for name, text in fields.items():
        if not text.strip():
            reason = "blank_answer" if name == "answer" else "blank_field"
            raise RejectedAnswer(reason, f"field '{name}' is empty")
    for name, expected in (("source", source), ("extraction", extraction)):
        if fields[name] != expected:
            raise RejectedAnswer(
                f"{name}_mismatch", f"'{fields[name]}', the configuration expects '{expected}'"
            )
    prompt, prompt_hash = optional.get("prompt"), optional.get("prompt_sha256")
    if prompt is not None and prompt_hash is not None:
        actual = hashlib.sha256(prompt.encode()).hexdigest()
        if actual != prompt_hash.lower():
            raise RejectedAnswer("prompt_hash_mismatch", f"prompt_sha256 is not {actual}")
    return Answer(fields["entity_id"], fields["answer"], prompt)


def _json_object(line: bytes) -> dict[str, object]:
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise RejectedAnswer("invalid_utf8", f"{error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise RejectedAnswer("malformed_json", str(error)) from error
    if not isinstance(record, dict):
        raise RejectedAnswer("not_an_object", "the line is JSON, but not an object")
    return record


def _text(record: dict[str, object], name: str) -> str:
    if name not in record or record[name] is None:
        raise RejectedAnswer("missing_field", f"there is no field '{name}'")
    value = record[name]
    if not isinstance(value, str):
        raise RejectedAnswer("wrong_type", f"field '{name}' must be a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RejectedAnswer(
            "invalid_text", f"field '{name}' holds half a surrogate pair"
        ) from error
    return value
