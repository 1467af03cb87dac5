"""Client `replay`: answers of existing answer files, by prompt hash. Calls nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from typing_extensions import override

from preprocessing.answers.completion import ChatResponse, Usage, counted_usage, estimated_tokens
from preprocessing.answers.record import (
    RejectedAnswer,
    answer_of,
    batched_lines,
    json_object,
    prompt_sha256,
    text_field,
)
from preprocessing.dead_letters import dead_letter
from preprocessing.generation.answer_store import LINES_PER_TRANSACTION, AnswerStore
from preprocessing.generation.chat import ChatRequest
from preprocessing.generation.client import AnswerClient, ClientReport

ANY_MODEL = "replay"
"""Name under which answers of any model are stored."""


@dataclass(frozen=True)
class ReplayClient(AnswerClient):
    """Takes the first answer in the files that has a pending prompt's hash.

    Attributes:
      paths: answer files (.jsonl or .jsonl.gz).
      model: answers of this model only, or to requests for it; ANY_MODEL for all.
    """

    paths: tuple[str, ...]
    model: str

    @override
    def answer(self, pending: Iterator[ChatRequest], store: AnswerStore) -> ClientReport:
        estimates = {request.prompt_sha256: estimated_tokens(request.prompt) for request in pending}
        report = ClientReport()
        counts = {"read": 0, "taken": 0, "not_needed": 0, "rejected": 0}
        for path in self.paths:
            for lines in batched_lines(path, LINES_PER_TRANSACTION):
                taken: dict[str, ChatResponse] = {}
                for number, line in lines:
                    counts["read"] += 1
                    try:
                        sha, response, asked_model = _read_answer(json_object(line), estimates)
                    except RejectedAnswer as error:
                        counts["rejected"] += 1
                        report.dead_letters.append(
                            dead_letter(path, number, error.reason, error.detail)
                        )
                        continue
                    wanted = self.model in (ANY_MODEL, response.answered_by, asked_model)
                    if wanted and estimates.pop(sha, None) is not None:
                        taken[sha] = response
                        counts["taken"] += 1
                    else:
                        counts["not_needed"] += 1
                store.save(taken.items(), paid_calls=0)
        report.details = {"replay": counts}
        return report


def _read_answer(
    record: Mapping[str, object], estimates: Mapping[str, int]
) -> tuple[str, ChatResponse, str | None]:
    """Prompt hash, response and asked model of an answer record."""
    answer = answer_of(record, source=None, extraction=None)
    if answer.prompt is None:
        sha = text_field(record, "prompt_sha256").lower()
    else:
        sha = prompt_sha256(answer.prompt)
    factors = answer.factors
    text = answer.text if factors is None else json.dumps(factors, ensure_ascii=False)
    estimate = Usage(estimates.get(sha, 0), estimated_tokens(text), estimated=True)
    response = ChatResponse(
        text=text,
        finish_reason=answer.finish_reason,
        answered_by=answer.model,
        usage=counted_usage(answer.usage) or estimate,
    )
    return sha, response, answer.asked_model
