"""Which prompts still need a call: the prompt file held against the answer store."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from preprocessing.answers.prompts import JSON_SCHEMA, Prompt, read_prompts
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.generation.answer_store import Acceptance, AnswerStore, StoredAnswer
from preprocessing.generation.chat import (
    AnswerSchema,
    ChatParameters,
    ChatRequest,
    answer_schema,
)

_PROMPTS_PER_LOOKUP = 500


@dataclass(frozen=True)
class PromptState:
    """A prompt and what the store knows about it.

    Attributes:
      prompt: the prompt.
      answer: the stored answer; None if there is none.
      waiting: its batch request was written, the result not read yet.
      schema: shape of the answer; None if the prompt does not say.
    """

    prompt: Prompt
    answer: StoredAnswer | None
    waiting: bool
    schema: AnswerSchema | None


@dataclass(frozen=True)
class Survey:
    """What a run would do.

    Attributes:
      prompts: usable prompts of the file.
      dead_letters: lines that are no prompts.
      distinct: distinct prompt texts; equal texts are asked once.
      waiting: distinct texts that wait for a batch result.
      calls: distinct texts that need a call.
      prompt_tokens: estimated tokens of these calls' prompts.
    """

    prompts: int
    dead_letters: int
    distinct: int
    waiting: int
    calls: int
    prompt_tokens: int


def prompt_states(path: str, store: AnswerStore) -> Iterator[PromptState | DeadLetter]:
    """Every line of a prompt file, in order, with what the store knows now."""
    for chunk in _chunks(_with_schemas(path)):
        hashes = sorted({entry[0].sha256 for entry in chunk if isinstance(entry, tuple)})
        answers, waiting = store.answers(hashes), store.waiting(hashes)
        for entry in chunk:
            if isinstance(entry, tuple):
                prompt, schema = entry
                sha = prompt.sha256
                yield PromptState(prompt, answers.get(sha), sha in waiting, schema)
            else:
                yield entry


_Entry = tuple[Prompt, AnswerSchema | None] | DeadLetter


def _with_schemas(path: str) -> Iterator[_Entry]:
    for entry in read_prompts(path):
        if not isinstance(entry, Prompt):
            yield entry
        elif entry.json_schema is None:
            yield entry, None
        else:
            try:
                yield entry, answer_schema(entry.json_schema)
            except ValueError as error:
                detail = f"field '{JSON_SCHEMA}': {error}"
                yield dead_letter(path, entry.line, "wrong_type", detail)


def pending_requests(
    path: str, store: AnswerStore, acceptance: Acceptance
) -> Iterator[ChatRequest]:
    """Requests for prompts that need a call, each text once, in file order."""
    seen: set[str] = set()
    for entry in prompt_states(path, store):
        if not isinstance(entry, PromptState) or entry.prompt.sha256 in seen:
            continue
        seen.add(entry.prompt.sha256)
        if not entry.waiting and acceptance.needs_call(entry.answer, entry.schema):
            yield ChatRequest(entry.prompt.text, entry.prompt.sha256, entry.schema)


def survey(
    path: str, store: AnswerStore, acceptance: Acceptance, parameters: ChatParameters
) -> Survey:
    """Counts what a run would do, without doing it."""
    seen: set[str] = set()
    prompts = dead_letters = waiting = calls = prompt_tokens = 0
    for entry in prompt_states(path, store):
        if not isinstance(entry, PromptState):
            dead_letters += 1
            continue
        prompts += 1
        if entry.prompt.sha256 in seen:
            continue
        seen.add(entry.prompt.sha256)
        waiting += entry.waiting
        if not entry.waiting and acceptance.needs_call(entry.answer, entry.schema):
            calls += 1
            prompt_tokens += parameters.prompt_tokens_estimate(entry.prompt.text)
    return Survey(prompts, dead_letters, len(seen), waiting, calls, prompt_tokens)


def _chunks(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    iterator = iter(entries)
    while chunk := list(itertools.islice(iterator, _PROMPTS_PER_LOOKUP)):
        yield chunk
