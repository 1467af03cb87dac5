"""Which prompts still need a call: the prompt file held against the answer store."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from preprocessing.answers.prompts import Prompt, read_prompts
from preprocessing.dead_letters import DeadLetter
from preprocessing.generation.answer_store import Acceptance, AnswerStore, StoredAnswer
from preprocessing.generation.chat import ChatParameters, ChatRequest

_PROMPTS_PER_LOOKUP = 500


@dataclass(frozen=True)
class PlannedPrompt:
    """A prompt and what the store knows about it.

    Attributes:
      prompt: the prompt.
      answer: the stored answer; None if there is none.
      waiting: its batch request was written, the result not read yet.
    """

    prompt: Prompt
    answer: StoredAnswer | None
    waiting: bool


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


def planned_prompts(path: str, store: AnswerStore) -> Iterator[PlannedPrompt | DeadLetter]:
    """Every line of a prompt file, in order, with what the store knows now."""
    for chunk in _chunks(read_prompts(path)):
        prompts = [entry for entry in chunk if isinstance(entry, Prompt)]
        hashes = sorted({prompt.sha256 for prompt in prompts})
        answers, waiting = store.answers(hashes), store.waiting(hashes)
        for entry in chunk:
            if isinstance(entry, Prompt):
                sha = entry.sha256
                yield PlannedPrompt(entry, answers.get(sha), sha in waiting)
            else:
                yield entry


def pending_requests(
    path: str, store: AnswerStore, acceptance: Acceptance
) -> Iterator[ChatRequest]:
    """Requests for prompts that need a call, each text once, in file order."""
    seen: set[str] = set()
    for entry in planned_prompts(path, store):
        if not isinstance(entry, PlannedPrompt) or entry.prompt.sha256 in seen:
            continue
        seen.add(entry.prompt.sha256)
        if not entry.waiting and acceptance.needs_call(entry.answer):
            yield ChatRequest(entry.prompt.text, entry.prompt.sha256)


def survey(
    path: str, store: AnswerStore, acceptance: Acceptance, parameters: ChatParameters
) -> Survey:
    """Counts what a run would do, without doing it."""
    seen: set[str] = set()
    prompts = dead_letters = waiting = calls = prompt_tokens = 0
    for entry in planned_prompts(path, store):
        if not isinstance(entry, PlannedPrompt):
            dead_letters += 1
            continue
        prompts += 1
        if entry.prompt.sha256 in seen:
            continue
        seen.add(entry.prompt.sha256)
        waiting += entry.waiting
        if not entry.waiting and acceptance.needs_call(entry.answer):
            calls += 1
            prompt_tokens += parameters.prompt_tokens_estimate(entry.prompt.text)
    return Survey(prompts, dead_letters, len(seen), waiting, calls, prompt_tokens)


def _chunks(entries: Iterable[Prompt | DeadLetter]) -> Iterator[list[Prompt | DeadLetter]]:
    iterator = iter(entries)
    while chunk := list(itertools.islice(iterator, _PROMPTS_PER_LOOKUP)):
        yield chunk
