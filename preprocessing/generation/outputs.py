"""The prompts of a run against the answer store, before it and after it.

Before: what is pending. After: answers, dead letters and a summary for people and later steps.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.files import replaced_when_complete
from preprocessing.answers.completion import Usage
from preprocessing.answers.names import NameCounts, count_names, name_lists
from preprocessing.answers.prompts import JSON_SCHEMA, Prompt, read_prompts
from preprocessing.answers.record import Answer, RejectedAnswer
from preprocessing.dead_letters import DeadLetter, dead_letter, write_dead_letters
from preprocessing.generation.answer_store import (
    Acceptance,
    AnswerStore,
    Rejection,
    StoredAnswer,
    is_truncated,
)
from preprocessing.generation.chat import (
    AnswerSchema,
    ChatParameters,
    ChatRequest,
    answer_schema,
    factors_as_text,
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
      most_usage: the most that the run may spend for them.
    """

    prompts: int
    dead_letters: int
    distinct: int
    waiting: int
    calls: int
    prompt_tokens: int
    most_usage: Usage


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
    first: dict[str, tuple[int, str]] = {}
    schemas: dict[str, AnswerSchema | None] = {}
    for entry in read_prompts(path):
        if not isinstance(entry, Prompt):
            yield entry
            continue
        # The order of properties is that of the answer's text.
        written = json.dumps(entry.json_schema)
        try:
            if written not in schemas:
                known = None if entry.json_schema is None else answer_schema(entry.json_schema)
                schemas[written] = known
            schema = schemas[written]
        except ValueError as error:
            detail = f"field '{JSON_SCHEMA}': {error}"
            yield dead_letter(path, entry.line, "wrong_type", detail)
            continue
        # Answers are kept by the text alone.
        form = sys.intern(json.dumps(entry.json_schema, sort_keys=True))
        line, earlier = first.setdefault(entry.sha256, (entry.line, form))
        if form == earlier:
            yield entry, schema
        else:
            detail = f"field '{JSON_SCHEMA}': line {line} has the same text with another"
            yield dead_letter(path, entry.line, "other_schema", detail)


def schemas_of_prompts(path: str) -> dict[str, AnswerSchema]:
    """Prompt hash -> its schema, of the prompts of a file that have one."""
    entries = (entry for entry in _with_schemas(path) if isinstance(entry, tuple))
    return {prompt.sha256: schema for prompt, schema in entries if schema is not None}


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
    path: str,
    store: AnswerStore,
    acceptance: Acceptance,
    parameters: ChatParameters,
    calls_per_prompt: int,
    forget_batches: bool = False,
) -> Survey:
    """Counts what a run would do that may call so often for one prompt, without doing it.

    With `forget_batches` no prompt waits for a batch result.
    """
    seen: set[str] = set()
    prompts = dead_letters = waiting = calls = prompt_tokens = 0
    most_prompt = most_answer = 0
    for entry in prompt_states(path, store):
        if not isinstance(entry, PromptState):
            dead_letters += 1
            continue
        prompts += 1
        if entry.prompt.sha256 in seen:
            continue
        seen.add(entry.prompt.sha256)
        waits = entry.waiting and not forget_batches
        waiting += waits
        if not waits and acceptance.needs_call(entry.answer, entry.schema):
            calls += 1
            prompt_tokens += parameters.prompt_tokens_estimate(entry.prompt.text)
            request = ChatRequest(entry.prompt.text, entry.prompt.sha256, entry.schema)
            most = parameters.most_usage(request)
            most_calls = min(calls_per_prompt, acceptance.attempts_left(entry.answer))
            most_prompt += most_calls * most.prompt_tokens
            most_answer += most_calls * most.completion_tokens
    most_usage = Usage(most_prompt, most_answer, estimated=True)
    return Survey(prompts, dead_letters, len(seen), waiting, calls, prompt_tokens, most_usage)


def _chunks(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    iterator = iter(entries)
    while chunk := list(itertools.islice(iterator, _PROMPTS_PER_LOOKUP)):
        yield chunk


@dataclass
class PromptCounts:
    """What became of the prompts; `read` = answered + rejected + not attempted.

    Attributes:
      answered: prompts with an answer.
      not_attempted: prompts without an answer and without a reason to reject them.
      waiting_for_batch: of them, prompts whose batch request was written and not answered yet.
      rejected_by_reason: dead letters of the prompt file.
      models: answered prompts by the model that wrote the answer, as its service reports.
      names: names in the answers that list some.
    """

    answered: int = 0
    not_attempted: int = 0
    waiting_for_batch: int = 0
    rejected_by_reason: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    names: NameCounts = field(default_factory=NameCounts)

    def as_dictionary(self) -> dict[str, Any]:
        """The first part of the summary."""
        rejected = self.rejected_by_reason.total()
        return {
            "read": self.answered + rejected + self.not_attempted,
            "answered": self.answered,
            "rejected": rejected,
            "not_attempted": self.not_attempted,
            "waiting_for_batch": self.waiting_for_batch,
            "rejected_by_reason": dict(sorted(self.rejected_by_reason.items())),
            "models": dict(sorted(self.models.items())),
            "names": self.names.as_dictionary() if self.names.lists else None,
        }


@dataclass(frozen=True)
class OutputFolder:
    """The folder of `--out`.

    Attributes:
      path: the folder.
    """

    path: Path

    @property
    def answers(self) -> Path:
        """Answers in prompt order, JSON lines."""
        return self.path / "answers.jsonl"

    @property
    def dead_letters(self) -> Path:
        """Rejected lines and prompts with their reasons."""
        return self.path / "dead_letters.jsonl"

    @property
    def summary(self) -> Path:
        """Counts, tokens and cost."""
        return self.path / "summary.json"

    @property
    def batch(self) -> Path:
        """Folder of batch request files."""
        return self.path / "batch"

    @property
    def store(self) -> Path:
        """The answer store, unless the configuration names another."""
        return self.path / "answer_store.sqlite"

    @property
    def model_hash(self) -> Path:
        """Hash of the model file of the client "gguf", so that it is not read for it again."""
        return self.path / "model_sha256.json"

    def count_answers(self) -> int:
        """Answers that are there now."""
        if not self.answers.is_file():
            return 0
        with self.answers.open("rb") as file:
            return sum(1 for _ in file)

    def write_answers(
        self,
        prompts_path: str,
        store: AnswerStore,
        acceptance: Acceptance,
        failures: Mapping[str, Rejection],
        other_dead_letters: list[DeadLetter],
        model: str | None,
    ) -> PromptCounts:
        """Writes answers and dead letters from what the store holds.

        Args:
          prompts_path: the prompt file.
          store: where the answers are.
          acceptance: which of them count.
          failures: prompt hash -> why there is no answer.
          other_dead_letters: rejected lines of other files.
          model: the LLM that was asked; None for replayed answers of any.
        """
        counts = PromptCounts()
        letters = list(other_dead_letters)
        with (
            replaced_when_complete(self.answers) as path,
            path.open("w", encoding="utf-8") as file,
        ):
            for entry in prompt_states(prompts_path, store):
                if not isinstance(entry, PromptState):
                    counts.rejected_by_reason[entry["reason"]] += 1
                    letters.append(entry)
                    continue
                prompt, answer = entry.prompt, entry.answer
                rejection = failures.get(prompt.sha256)
                if answer is not None:
                    rejection = acceptance.rejection(answer, entry.schema)
                schema = entry.schema or acceptance.schema
                record = None
                if answer is not None and rejection is None:
                    record = answer_record(prompt, answer, schema, model)
                    try:
                        if schema is not None and schema.names:
                            counts.names.add(count_names(name_lists(record, key=schema.names[0])))
                    except RejectedAnswer as error:
                        rejection = Rejection(error.reason, error.detail)
                if entry.waiting and rejection is not None:
                    # What it is asked for again is on its way.
                    rejection = record = None
                if rejection is not None:
                    counts.rejected_by_reason[rejection.reason] += 1
                    letters.append(
                        dead_letter(prompts_path, prompt.line, rejection.reason, rejection.detail)
                    )
                elif answer is None or record is None:
                    counts.not_attempted += 1
                    counts.waiting_for_batch += entry.waiting
                else:
                    counts.answered += 1
                    counts.models[record.model or "unknown"] += 1
                    written = record.record()
                    if is_truncated(answer):
                        written["finish_reason"] = answer.finish_reason
                    file.write(json.dumps(written, ensure_ascii=False) + "\n")
        write_dead_letters(self.dead_letters, letters)
        return counts

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes the summary as JSON that people can read."""
        with replaced_when_complete(self.summary) as path:
            path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def answer_record(
    prompt: Prompt, answer: StoredAnswer, schema: AnswerSchema | None, model: str | None
) -> Answer:
    """The record of an accepted answer.

    `model` is the one that answered, as its service reports; where another name was asked,
    `asked_model` keeps that. A structured answer becomes `factors` (name -> text or names), and its
    text holds the texts among them; of one without any it is the JSON itself, and all there is.
    """
    text, factors = answer.text, None
    if schema is not None:
        factors = schema.parse(answer.text)
        texts = {name: value for name, value in factors.items() if isinstance(value, str)}
        text = factors_as_text(texts) if texts else json.dumps(factors, ensure_ascii=False)
        factors = factors if texts else None
    usage = {
        "prompt_tokens": answer.usage.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens,
        "total_tokens": answer.usage.prompt_tokens + answer.usage.completion_tokens,
    }
    if answer.usage.estimated:
        usage["estimated"] = True
    return Answer(
        source=prompt.source,
        entity_id=prompt.entity_id,
        extraction=prompt.extraction,
        text=text,
        prompt=prompt.text,
        model=answer.answered_by or model,
        asked_model=None if answer.answered_by in (None, model) else model,
        usage=usage,
        given_custom_id=prompt.custom_id,
        interactions_seen=prompt.interactions_seen,
        factors=factors,
        members=prompt.members,
    )
