"""Prompt files: the questions that answers answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from configs.command_line import CommandError
from preprocessing.answers.record import (
    RejectedAnswer,
    interactions_seen,
    json_object,
    listed_members,
    numbered_lines,
    object_field,
    prompt_sha256,
    text_field,
)
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.records.contract import EXTRACTIONS

JSON_SCHEMA = "json_schema"
"""Field of prompts that ask for a JSON answer: its schema."""

_REQUIRED = ("custom_id", "source", "entity_id", "extraction", "prompt")


@dataclass(frozen=True)
class Prompt:
    """One question to the LLM.

    Attributes:
      line: line number in the prompt file, counted from 1.
      custom_id: name of the prompt, unique in the file, e.g. "item/318".
      source: name of the stream of knowledge, e.g. "item".
      entity_id: item, user or group id.
      extraction: "individual" or "collective".
      text: what the LLM is asked.
      sha256: SHA-256 of the text's UTF-8 bytes.
      interactions_seen: see `Answer`.
      members: see `Answer`.
      json_schema: JSON schema of the answer; None where nothing is said about its form.
    """

    line: int
    custom_id: str
    source: str
    entity_id: str
    extraction: str
    text: str
    sha256: str
    interactions_seen: int | None = None
    members: tuple[str, ...] | None = None
    json_schema: Mapping[str, object] | None = None


def read_prompts(path: str) -> Iterator[Prompt | DeadLetter]:
    """Reads a prompt file (.jsonl or .jsonl.gz) line by line; blank lines are left out.

    Yields:
      A prompt, or the dead letter of a line that is none.
    """
    first_lines: dict[str, int] = {}
    for number, line in numbered_lines(path):
        try:
            prompt = _parse_prompt(line, number)
            first = first_lines.setdefault(prompt.custom_id, number)
            if first != number:
                raise RejectedAnswer("duplicate_custom_id", f"same custom_id as line {first}")
        except RejectedAnswer as error:
            yield dead_letter(path, number, error.reason, error.detail)
        else:
            yield prompt


def _parse_prompt(line: bytes, number: int) -> Prompt:
    record = json_object(line)
    fields = {name: text_field(record, name) for name in _REQUIRED}
    for name, text in fields.items():
        if not text.strip():
            raise RejectedAnswer("blank_field", f"field '{name}' is empty")
    if fields["extraction"] not in EXTRACTIONS:
        raise RejectedAnswer(
            "extraction_mismatch",
            f"'{fields['extraction']}'; there are {' and '.join(EXTRACTIONS)} prompts",
        )
    actual = prompt_sha256(fields["prompt"])
    if record.get("prompt_sha256") is not None:
        given = text_field(record, "prompt_sha256")
        if given.lower() != actual:
            raise RejectedAnswer("prompt_hash_mismatch", f"prompt_sha256 is not {actual}")
    return Prompt(
        line=number,
        custom_id=fields["custom_id"],
        source=fields["source"],
        entity_id=fields["entity_id"],
        extraction=fields["extraction"],
        text=fields["prompt"],
        sha256=actual,
        interactions_seen=interactions_seen(record),
        members=listed_members(record),
        json_schema=object_field(record, JSON_SCHEMA),
    )


def read_asked_prompts(paths: Sequence[str]) -> Mapping[str, Prompt]:
    """Custom id -> prompt of all prompt files, as `prompts` writes them.

    Raises:
      CommandError: a line is no prompt, or two prompts have the same custom id.
    """
    prompts: dict[str, Prompt] = {}
    for path in paths:
        for prompt in read_prompts(path):
            if not isinstance(prompt, Prompt):
                raise CommandError(
                    f"{path}: line {prompt['line']}: {prompt['reason']}: {prompt['detail']}"
                )
            if prompt.custom_id in prompts:
                raise CommandError(
                    f"{path}: line {prompt.line}: another prompt file has this custom_id"
                )
            prompts[prompt.custom_id] = prompt
    return prompts
