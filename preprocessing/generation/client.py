"""What every client of an LLM does: take pending requests, put answers into the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from preprocessing.dead_letters import DeadLetter
from preprocessing.generation.acceptance import Rejection
from preprocessing.generation.answer_store import AnswerStore
from preprocessing.generation.chat import ChatRequest

BUDGET_REACHED = "budget"
INTERRUPTED = "interrupted"
ENDPOINT_UNUSABLE = "endpoint"


@dataclass
class ClientReport:
    """What a client did. Answers are in the store.

    Attributes:
      failures: prompt hash -> why this run got no answer.
      calls: paid calls.
      retries: unpaid repetitions after transient failures.
      prompt_tokens: tokens of paid calls' prompts.
      completion_tokens: tokens of paid calls' answers.
      estimated_calls: calls whose tokens the endpoint did not count.
      cost_usd: US dollars; None without prices.
      stopped: BUDGET_REACHED, INTERRUPTED, ENDPOINT_UNUSABLE, or None for a run to the end.
      problem: what people read when the endpoint is unusable.
      dead_letters: rejected lines of files other than the prompt file.
      details: more for the summary, by name.
    """

    failures: dict[str, Rejection] = field(default_factory=dict)
    calls: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_calls: int = 0
    cost_usd: float | None = None
    stopped: str | None = None
    problem: str | None = None
    dead_letters: list[DeadLetter] = field(default_factory=list)
    details: Mapping[str, object] = field(default_factory=dict)


class AnswerClient(Protocol):
    """A way to get answers."""

    def answer(self, pending: Iterator[ChatRequest], store: AnswerStore) -> ClientReport:
        """Answers requests, or as many as it can.

        Args:
          pending: requests without an answer; read as they are needed.
          store: where answers go before they count.
        """
        ...
