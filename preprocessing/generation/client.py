"""What every client of an LLM does: pending requests in, stored answers out, within a budget."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from configs.command_line import say
from configs.openai_connection import STOP_GRACE_SECONDS
from preprocessing.answers.completion import Usage
from preprocessing.dead_letters import DeadLetter
from preprocessing.generation.answer_store import AnswerStore, Rejection
from preprocessing.generation.chat import ChatRequest
from preprocessing.prompting.token_costs import Prices


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one interrupts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    usual = signal.getsignal(signal.SIGINT)

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, usual)
        say(
            f"\nstopping: waiting for the calls in flight, {STOP_GRACE_SECONDS:g} s at most for "
            "those of an endpoint; killing the process loses nothing that was answered either"
        )

    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, usual)


class Budget:
    """Counts tokens of finished calls and holds back the most that calls in flight may spend.

    Several threads may use it.

    Args:
      tokens: tokens the run may spend; None for no limit.
      dollars: US dollars the run may spend; None for no limit. Needs prices.
      prices: price of tokens.
    """

    def __init__(self, tokens: int | None, dollars: float | None, prices: Prices):
        self._tokens = tokens
        self._dollars = dollars
        self._prices = prices
        self._reserved_prompt = 0
        self._reserved_completion = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.estimated_calls = 0
        self._lock = threading.Lock()

    def reserve(self, most: Usage) -> bool:
        """Holds back the most that a call may spend; False if that does not fit."""
        with self._lock:
            if not self._has_room(most.prompt_tokens, most.completion_tokens):
                return False
            self._reserved_prompt += most.prompt_tokens
            self._reserved_completion += most.completion_tokens
            return True

    def release(self, most: Usage) -> None:
        """Ends the reservation of a finished call."""
        with self._lock:
            self._reserved_prompt -= most.prompt_tokens
            self._reserved_completion -= most.completion_tokens

    def spend(self, usage: Usage) -> None:
        """Counts what a call has spent."""
        with self._lock:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens
            self.estimated_calls += usage.estimated

    @property
    def holds(self) -> bool:
        """Whether what is spent and held back is within the budget."""
        with self._lock:
            return self._has_room(0, 0)

    def _has_room(self, prompt_tokens: int, completion_tokens: int) -> bool:
        prompt = self.prompt_tokens + self._reserved_prompt + prompt_tokens
        completion = self.completion_tokens + self._reserved_completion + completion_tokens
        if self._tokens is not None and prompt + completion > self._tokens:
            return False
        dollars = self._prices.cost(prompt, completion)
        return self._dollars is None or dollars is None or dollars <= self._dollars

    @property
    def cost(self) -> float | None:
        """US dollars spent; None without prices."""
        return self._prices.cost(self.prompt_tokens, self.completion_tokens)


BUDGET_REACHED = "budget"
INTERRUPTED = "interrupted"
ENDPOINT_UNUSABLE = "endpoint"


@dataclass
class ClientReport:
    """What a client did. Answers are in the store.

    Attributes:
      failures: prompt hash -> why this run got no answer.
      calls: paid calls.
      retries: repetitions after transient failures.
      prompt_tokens: tokens of paid calls' prompts, and of calls whose answer was not seen.
      completion_tokens: tokens of paid calls' answers, and the most of such calls.
      estimated_calls: calls whose tokens the endpoint did not count, and such calls.
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
