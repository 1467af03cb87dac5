"""OpenAI batch result files into the answer store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from preprocessing.dead_letters import dead_letter
from preprocessing.generation.acceptance import Rejection
from preprocessing.generation.answer_store import AnswerStore
from preprocessing.generation.budget import Budget
from preprocessing.generation.chat import ChatRequest
from preprocessing.generation.client import ClientReport
from preprocessing.generation.completion import (
    FAILED_REQUEST,
    completion_of_batch_line,
    stored_form,
)
from preprocessing.generation.json_lines import numbered_lines
from preprocessing.knowledge.answers import RejectedAnswer, json_object, text_field


class BatchResultClient:
    """Reads output and error files of batches; makes no calls.

    Args:
      paths: result files (.jsonl or .jsonl.gz), in any order.
      budget: counts what the batches have cost.
    """

    def __init__(self, paths: Iterable[str], budget: Budget):
        self._paths = list(paths)
        self._budget = budget
        self._report = ClientReport()
        self._counts = {"read": 0, "stored": 0, "failed": 0, "already_read": 0, "rejected": 0}

    def answer(self, pending: Iterator[ChatRequest], store: AnswerStore) -> ClientReport:
        """See `AnswerClient`; `pending` is not asked for, only waiting requests get answers."""
        del pending
        for path in self._paths:
            for lines in numbered_lines(path):
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
        if not request.waiting:
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
        store.save_batch_result(key, request, response)
        self._budget.spend(response.usage)
        self._report.calls += 1
        return "stored"
