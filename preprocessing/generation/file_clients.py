"""Clients that work with files: `batch-file` and `replay`. They call nothing.

`batch-file` writes OpenAI batch request files and takes their result files into the answer store;
`replay` takes answers of existing answer files, by prompt hash.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from typing_extensions import override

from configs.files import errors_name, partial_of
from preprocessing.answers.completion import (
    FAILED_REQUEST,
    ChatResponse,
    Usage,
    completion_of_batch_line,
    counted_usage,
    estimated_tokens,
    stored_form,
)
from preprocessing.answers.record import (
    RejectedAnswer,
    answer_of,
    batched_lines,
    json_object,
    prompt_sha256,
    text_field,
)
from preprocessing.dead_letters import dead_letter
from preprocessing.generation.answer_store import (
    LINES_PER_TRANSACTION,
    Acceptance,
    AnswerStore,
    BatchRequest,
    Rejection,
    StoredAnswer,
)
from preprocessing.generation.chat import AnswerSchema, ChatParameters, ChatRequest
from preprocessing.generation.client import BUDGET_REACHED, AnswerClient, Budget, ClientReport

_MOST_BYTES_PER_FILE = 190_000_000
_FILE_NAME = re.compile(r"requests-(\d{5})\.jsonl")


@dataclass(frozen=True)
class BatchFileClient(AnswerClient):
    """Writes every pending request once; `BatchResultClient` takes the answers in.

    Attributes:
      folder: where `requests-00000.jsonl` and so on belong.
      parameters: model and parameters of all requests.
      requests_per_file: most requests in one file; a file also stays below 190 MB.
      budget: the most that all requests of this run may spend.
    """

    folder: Path
    parameters: ChatParameters
    requests_per_file: int
    budget: Budget

    @override
    def answer(self, pending: Iterator[ChatRequest], store: AnswerStore) -> ClientReport:
        self.folder.mkdir(parents=True, exist_ok=True)
        files = self._finish_killed_run(store)
        requests = 0
        report = ClientReport()
        pending = self._within_budget(pending, report)
        number = self._next_number(store)
        request = next(pending, None)
        while request is not None:
            path = self.folder.absolute() / f"requests-{number:05d}.jsonl"
            partial = partial_of(path)
            with errors_name(path), partial.open("wb") as file:
                written, request = self._fill(path, file, request, pending, store)
                file.flush()
                os.fsync(file.fileno())
            # Noted before anyone can send the file, so that no request is ever in two files.
            store.add_batch_requests(str(path), written)
            os.replace(partial, path)
            files.append(str(path))
            requests += len(written)
            number += 1
        report.details = {"batch_files": files, "batch_requests": requests}
        return report

    def _finish_killed_run(self, store: AnswerStore) -> list[str]:
        """Moves files into place that are complete and noted; returns their names."""
        killed = [
            file
            for file in sorted(store.batch_files())
            if partial_of(Path(file)).exists() and not Path(file).exists()
        ]
        for file in killed:
            os.replace(partial_of(Path(file)), file)
        return killed

    def _within_budget(
        self, pending: Iterator[ChatRequest], report: ClientReport
    ) -> Iterator[ChatRequest]:
        for request in pending:
            if not self.budget.reserve(self.parameters.most_usage(request)):
                report.stopped = BUDGET_REACHED
                return
            yield request

    def _next_number(self, store: AnswerStore) -> int:
        names = [Path(file).name for file in store.batch_files()]
        names.extend(path.name for path in self.folder.iterdir())
        numbers = [int(match[1]) for name in names if (match := _FILE_NAME.fullmatch(name))]
        return max(numbers, default=-1) + 1

    def _fill(
        self,
        path: Path,
        file: BinaryIO,
        request: ChatRequest | None,
        pending: Iterator[ChatRequest],
        store: AnswerStore,
    ) -> tuple[list[tuple[str, int]], ChatRequest | None]:
        """Writes one file; returns what it holds and the first request of the next one."""
        written: list[tuple[str, int]] = []
        size = 0
        while request is not None and len(written) < self.requests_per_file:
            line = self._line(request, store.request_key(request.prompt_sha256, str(path)))
            size += len(line)
            if written and size > _MOST_BYTES_PER_FILE:
                break
            file.write(line)
            estimate = self.parameters.prompt_tokens_estimate(request.prompt)
            written.append((request.prompt_sha256, estimate))
            request = next(pending, None)
        return written, request

    def _line(self, request: ChatRequest, key: str) -> bytes:
        entry = {
            "custom_id": key,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": self.parameters.body(request.prompt, request.schema),
        }
        return json.dumps(entry).encode() + b"\n"


class BatchResultClient(AnswerClient):
    """Reads output and error files of batches; makes no calls.

    Args:
      paths: result files (.jsonl or .jsonl.gz), in any order.
      budget: counts what the batches have cost.
      acceptance: which answers count; one that does is replaced by none that does not.
      schemas: gives the prompts that have a schema of their own, by hash; asked for once, and only
        where a prompt has two results.
    """

    def __init__(
        self,
        paths: Iterable[str],
        budget: Budget,
        acceptance: Acceptance,
        schemas: Callable[[], Mapping[str, AnswerSchema]],
    ):
        self._paths = list(paths)
        self._budget = budget
        self._acceptance = acceptance
        self._schemas = functools.cache(schemas)
        self._report = ClientReport()
        counted = ("read", "stored", "failed", "already_read", "not_needed", "rejected")
        self._counts = dict.fromkeys(counted, 0)

    @override
    def answer(self, pending: Iterator[ChatRequest], store: AnswerStore) -> ClientReport:
        """Stores answers of waiting requests; `pending` is not asked for."""
        del pending
        for path in self._paths:
            for lines in batched_lines(path, LINES_PER_TRANSACTION):
                with store.transaction():
                    for number, line in lines:
                        self._read_line(path, number, line, store)
        report = self._report
        report.prompt_tokens = self._budget.prompt_tokens
        report.completion_tokens = self._budget.completion_tokens
        report.estimated_calls = self._budget.estimated_calls
        report.cost_usd = self._budget.cost
        report.details = {"batch_results": self._counts}
        return report

    def _read_line(self, path: str, number: int, line: bytes, store: AnswerStore) -> None:
        self._counts["read"] += 1
        try:
            self._counts[self._store_result(json_object(line), store)] += 1
        except RejectedAnswer as error:
            self._counts["rejected"] += 1
            self._report.dead_letters.append(dead_letter(path, number, error.reason, error.detail))

    def _store_result(self, record: Mapping[str, object], store: AnswerStore) -> str:
        """Stores a result; returns the name of the count it belongs to."""
        key = text_field(record, "custom_id")
        request = store.batch_request(key)
        if request is None:
            raise RejectedAnswer(
                "unknown_request", "no such request was written with this model and parameters"
            )
        if request.is_read:
            return "already_read"
        try:
            completion = completion_of_batch_line(record)
        except RejectedAnswer as error:
            failed = error.reason == FAILED_REQUEST
            reason = FAILED_REQUEST if failed else "malformed_response"
            store.end_batch_request(key)
            self._report.failures[request.prompt_sha256] = Rejection(reason, error.detail)
            return "failed"
        response = stored_form(completion, request.prompt_tokens_estimate)
        self._budget.spend(response.usage)
        self._report.calls += 1
        before = store.answers([request.prompt_sha256]).get(request.prompt_sha256)
        if before is not None and self._is_worth_more(before, response, request):
            store.end_batch_request(key)
            return "not_needed"
        store.save_batch_result(key, request, response)
        return "stored"

    def _is_worth_more(
        self, before: StoredAnswer, response: ChatResponse, request: BatchRequest
    ) -> bool:
        """Whether the stored answer stays, because it counts and the new one is late or does not.

        Of two that do not count, a late one does not replace a text either.
        """
        schema = self._schemas().get(request.prompt_sha256)
        late = StoredAnswer(
            response.text, response.finish_reason, response.answered_by, response.usage, calls=1
        )
        counts, late_counts = (
            self._acceptance.rejection(answer, schema) is None for answer in (before, late)
        )
        if late_counts:
            return counts and request.is_given_up
        return counts or (request.is_given_up and bool(before.text.strip()))


ANY_MODEL = "replay"
"""Name under which answers of any model are stored."""


@dataclass(frozen=True)
class ReplayClient(AnswerClient):
    """Takes the first answer in the files that has a pending prompt's hash.

    Attributes:
      paths: answer files (.jsonl or .jsonl.gz).
      model: answers of this model only, or to requests for it; ANY_MODEL for all.
      structured: whether prompts without a schema of their own want JSON, too.
    """

    paths: tuple[str, ...]
    model: str
    structured: bool

    @override
    def answer(self, pending: Iterator[ChatRequest], store: AnswerStore) -> ClientReport:
        needed = {
            request.prompt_sha256: _Needed(
                estimated_tokens(request.prompt), self.structured or request.schema is not None
            )
            for request in pending
        }
        report = ClientReport()
        counts = {"read": 0, "taken": 0, "not_needed": 0, "rejected": 0}
        for path in self.paths:
            for lines in batched_lines(path, LINES_PER_TRANSACTION):
                taken: dict[str, ChatResponse] = {}
                for number, line in lines:
                    counts["read"] += 1
                    try:
                        sha, response, asked_model = _read_answer(json_object(line), needed)
                    except RejectedAnswer as error:
                        counts["rejected"] += 1
                        report.dead_letters.append(
                            dead_letter(path, number, error.reason, error.detail)
                        )
                        continue
                    wanted = self.model in (ANY_MODEL, response.answered_by, asked_model)
                    if wanted and needed.pop(sha, None) is not None:
                        taken[sha] = response
                        counts["taken"] += 1
                    else:
                        counts["not_needed"] += 1
                store.save(taken.items(), paid_calls=0)
        report.details = {"replay": counts}
        return report


class _Needed(NamedTuple):
    """A prompt without an answer: its tokens, estimated, and whether it wants JSON."""

    tokens: int
    structured: bool


def _read_answer(
    record: Mapping[str, object], needed: Mapping[str, _Needed]
) -> tuple[str, ChatResponse, str | None]:
    """Prompt hash, response and asked model of an answer record."""
    answer = answer_of(record, source=None, extraction=None)
    if answer.prompt is None:
        sha = text_field(record, "prompt_sha256").lower()
    else:
        sha = prompt_sha256(answer.prompt)
    prompt = needed.get(sha, _Needed(0, structured=False))
    text = answer.text
    if answer.factors is not None and prompt.structured:
        text = json.dumps(answer.factors, ensure_ascii=False)
    estimate = Usage(prompt.tokens, estimated_tokens(text), estimated=True)
    response = ChatResponse(
        text=text,
        finish_reason=answer.finish_reason,
        answered_by=answer.model,
        usage=counted_usage(answer.usage) or estimate,
    )
    return sha, response, answer.asked_model
