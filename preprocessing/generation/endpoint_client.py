"""Client `openai`: many calls of an endpoint at once, with retries and a budget."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from tqdm import tqdm
from typing_extensions import override

from configs import tracing
from configs.command_line import CommandError
from configs.openai_connection import (
    FORBIDDEN,
    MALFORMED,
    TIMEOUT,
    ApiKey,
    CallFailed,
    EndpointUnusable,
    Interrupted,
    OpenAIConnection,
    Retrying,
    TransientFailure,
)
from configs.progress import progress as shown_progress
from preprocessing.answers.completion import FAILED_REQUEST, ChatResponse, response_of
from preprocessing.answers.record import RejectedAnswer
from preprocessing.generation.answer_store import Acceptance, AnswerStore, Rejection, StoredAnswer
from preprocessing.generation.chat import ChatParameters, ChatRequest
from preprocessing.generation.client import (
    BUDGET_REACHED,
    ENDPOINT_UNUSABLE,
    INTERRUPTED,
    AnswerClient,
    Budget,
    ClientReport,
)

_MOST_RESPONSE_BYTES = 16 << 20


class OpenAIEndpoint:
    """An endpoint that speaks `/v1/chat/completions`; may be called by several threads.

    Args:
      base_url: its address; None for OpenAI.
      api_key: the key; None for endpoints that want none. Cut out of everything that comes back.
      parameters: model and parameters of all requests.
      timeout_seconds: of one call, from connecting to the last byte of the response.
      stop: when it is set, calls in flight end soon; None for never.
    """

    def __init__(
        self,
        base_url: str | None,
        api_key: ApiKey | None,
        parameters: ChatParameters,
        timeout_seconds: float,
        stop: threading.Event | None = None,
    ):
        self._parameters = parameters
        self._connection = OpenAIConnection(
            base_url, api_key, timeout_seconds, _MOST_RESPONSE_BYTES, stop
        )

    def close(self) -> None:
        """Closes all connections."""
        self._connection.close()

    def complete(self, request: ChatRequest) -> ChatResponse:
        """Calls once.

        Raises:
          CallFailed: see `OpenAIConnection.call`.
        """
        body = self._parameters.body(request.prompt, request.schema)
        estimate = self._parameters.prompt_tokens_estimate(request.prompt)
        return self._connection.call(
            lambda client: client.chat.completions.with_raw_response.create(**body),
            lambda completion: _read(completion, estimate),
        )


def _read(completion: object, prompt_tokens_estimate: int) -> ChatResponse:
    try:
        return response_of(completion, prompt_tokens_estimate)
    except RejectedAnswer as error:
        failed = error.reason == FAILED_REQUEST
        raise TransientFailure(FAILED_REQUEST if failed else MALFORMED, error.detail) from None


_MAY_BE_BILLED = (TIMEOUT, MALFORMED)
_STOP_CHECK_SECONDS = 1.0
_REFUSALS_OF_A_KEY = 3
"""Refused prompts after which it is the key, where nothing was ever answered."""


@dataclass(frozen=True)
class CallLimits:
    """How hard an endpoint is used.

    Attributes:
      concurrency: calls in flight at the same time.
      retries: after transient failures, per call.
      retry_delay_seconds: upper bound of the first delay.
      stop_after_failures: failed prompts in a row after which the endpoint counts as down.
    """

    concurrency: int
    retries: int
    retry_delay_seconds: float
    stop_after_failures: int


@dataclass(frozen=True)
class EndpointClient(AnswerClient):
    """Keeps at most `concurrency` calls unfinished or unsaved.

    New calls start only after finished ones are on the disk, so a killed run has lost at most
    `concurrency` paid calls.

    Attributes:
      complete: calls the endpoint once; see `OpenAIEndpoint.complete`.
      parameters: model and parameters of all requests.
      acceptance: which answers are asked for again.
      limits: how hard the endpoint is used.
      budget: what may be spent; counts what is.
      stop: ends the run when set.
      expected_calls: for the progress bar.
    """

    complete: Callable[[ChatRequest], ChatResponse]
    parameters: ChatParameters
    acceptance: Acceptance
    limits: CallLimits
    budget: Budget
    stop: threading.Event
    expected_calls: int

    @override
    def answer(self, pending: Iterator[ChatRequest], store: AnswerStore) -> ClientReport:
        with (
            ThreadPoolExecutor(self.limits.concurrency, thread_name_prefix="call") as pool,
            shown_progress(
                total=self.expected_calls,
                desc="generate",
                unit="prompt",
                disable=not self.expected_calls,
            ) as progress,
        ):
            report = _Run(self, pending, store, pool, progress).report()
        report.prompt_tokens = self.budget.prompt_tokens
        report.completion_tokens = self.budget.completion_tokens
        report.estimated_calls = self.budget.estimated_calls
        report.cost_usd = self.budget.cost
        return report


class _Run:
    """The calls of one run."""

    def __init__(
        self,
        client: EndpointClient,
        pending: Iterator[ChatRequest],
        store: AnswerStore,
        pool: ThreadPoolExecutor,
        progress: tqdm,
    ):
        self._client = client
        self._pending = pending
        self._put_back: deque[ChatRequest] = deque()
        self._store = store
        self._pool = pool
        self._progress = progress
        self._in_flight: dict[Future[tuple[ChatResponse, int]], ChatRequest] = {}
        self._failures_in_a_row = 0
        self._refusals = 0
        self._key_works = store.has_answers
        self._report = ClientReport()
        self._no_more_waiting = threading.Event()
        limits = client.limits
        self._retrying = Retrying(limits.retries, limits.retry_delay_seconds, self._no_more_waiting)

    def report(self) -> ClientReport:
        """Makes all calls and says what came of them."""
        try:
            self._start_calls()
            while self._in_flight:
                self._finish_calls(_STOP_CHECK_SECONDS)
                self._start_calls()
        except Exception:
            # The prompt file or the disk fails: what is paid is stored, as far as that works.
            self._no_more_waiting.set()
            while self._in_flight:
                with contextlib.suppress(CommandError):
                    self._finish_calls(None)
            raise
        finally:
            self._no_more_waiting.set()
        return self._report

    def _start_calls(self) -> None:
        if self._client.stop.is_set():
            self._stop(INTERRUPTED)
        while (
            self._report.stopped is None and len(self._in_flight) < self._client.limits.concurrency
        ):
            request = self._put_back.popleft() if self._put_back else next(self._pending, None)
            if request is None:
                return
            if not self._client.budget.reserve(self._client.parameters.most_usage(request)):
                self._put_back.appendleft(request)
                if not self._in_flight:
                    self._stop(BUDGET_REACHED)
                return  # calls in flight usually spend less than they reserved
            self._in_flight[self._pool.submit(self._call, request)] = request

    def _call(self, request: ChatRequest) -> tuple[ChatResponse, int]:
        """Calls until there is a response; all tries are one span."""
        model = self._client.parameters.model
        with tracing.span(f"chat {model}", "client") as span:
            asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
            span.tell(asked | {"reki.prompt_sha256": request.prompt_sha256})
            try:
                response, retries = self._retrying.call(lambda: self._call_once(request))
            except Exception as error:
                failure = error.reason if isinstance(error, CallFailed) else type(error).__name__
                span.tell(
                    {"reki.outcome": failure, "reki.retries": getattr(error, "retries", None)}
                )
                span.fail(failure)
                raise
            span.tell(
                {
                    "gen_ai.response.model": response.answered_by,
                    "gen_ai.response.finish_reasons": [response.finish_reason or "unknown"],
                    "gen_ai.usage.input_tokens": response.usage.prompt_tokens,
                    "gen_ai.usage.output_tokens": response.usage.completion_tokens,
                    "reki.tokens_estimated": response.usage.estimated,
                    "reki.outcome": "answered",
                    "reki.retries": retries,
                }
            )
        return response, retries

    def _call_once(self, request: ChatRequest) -> ChatResponse:
        """Calls; without a readable response in time it may be billed, and counts with the most."""
        budget, most = self._client.budget, self._client.parameters.most_usage(request)
        try:
            return self._client.complete(request)
        except Interrupted:
            budget.spend(most)
            raise
        except TransientFailure as failure:
            if failure.reason not in _MAY_BE_BILLED:
                raise
            budget.spend(most)
            if budget.holds:
                raise
            detail = f"{failure.detail}; the budget has no room for another call"
            raise CallFailed(failure.reason, detail) from None

    def _finish_calls(self, timeout: float | None) -> None:
        """Waits for calls, and stores each answer before the next one is looked at."""
        finished, _ = wait(self._in_flight, timeout=timeout, return_when=FIRST_COMPLETED)
        for future in finished:
            request = self._in_flight.pop(future)
            self._client.budget.release(self._client.parameters.most_usage(request))
            try:
                response, retries = future.result()
                stored = self._stored(request, response)
            except Interrupted:
                continue
            except CallFailed as failure:
                self._fail(request, failure)
                continue
            except CommandError:
                raise
            except Exception as error:
                detail = f"{type(error).__name__}: {error}"
                self._fail(request, CallFailed(MALFORMED, detail))
                continue
            self._report.retries += retries
            self._failures_in_a_row = 0
            if self._client.acceptance.needs_call(stored, request.schema):
                self._put_back.append(request)
            else:
                self._progress.update()
        self._show_spending()

    def _stored(self, request: ChatRequest, response: ChatResponse) -> StoredAnswer:
        """Counts and stores a paid answer; returns what is stored."""
        self._client.budget.spend(response.usage)
        self._report.calls += 1
        self._key_works = True
        sha = request.prompt_sha256
        self._store.save([(sha, response)])
        return self._store.answers([sha])[sha]

    def _fail(self, request: ChatRequest, failure: CallFailed) -> None:
        self._report.retries += failure.retries
        if isinstance(failure, EndpointUnusable):
            # A service that has answered others may refuse one prompt for what it says.
            self._refusals += failure.reason == FORBIDDEN
            is_of_prompt = self._key_works or self._refusals < _REFUSALS_OF_A_KEY
            if failure.reason != FORBIDDEN or not is_of_prompt:
                self._stop(ENDPOINT_UNUSABLE, failure.detail)
                return
        rejection = Rejection(failure.reason, failure.detail)
        self._report.failures[request.prompt_sha256] = rejection
        self._progress.update()
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= self._client.limits.stop_after_failures:
            self._stop(
                ENDPOINT_UNUSABLE,
                f"{self._failures_in_a_row} prompts failed in a row "
                f"(generation.stop_after_failures), the last one with {failure.reason}: "
                f"{failure.detail}",
            )

    def _stop(self, why: str, problem: str | None = None) -> None:
        self._no_more_waiting.set()
        if self._report.stopped is None:
            self._report.stopped, self._report.problem = why, problem

    def _show_spending(self) -> None:
        budget = self._client.budget
        spent = f"{budget.prompt_tokens + budget.completion_tokens:,} tokens"
        cost = "" if budget.cost is None else f", ${budget.cost:.4f}"
        self._progress.set_postfix_str(spent + cost)
