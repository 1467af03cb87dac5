from __future__ import annotations

import shutil
import sqlite3
import threading

import pytest

from preprocessing.answers.completion import ChatResponse, Usage
from preprocessing.generation.answer_store import Acceptance, AnswerStore
from preprocessing.generation.chat import ChatRequest
from preprocessing.generation.client import Budget
from preprocessing.generation.endpoint_client import CallLimits, EndpointClient
from preprocessing.openai_connection import EndpointUnusable, RequestRefused, TransientFailure
from preprocessing.prompting.token_costs import Prices

ANSWER = ChatResponse("Noir.", "stop", None, Usage(2, 3))


@pytest.fixture
def run(tmp_path, parameters):
    def answer(complete, texts, stop=None, tokens=None, **limits):
        client = EndpointClient(
            complete=complete,
            parameters=parameters,
            acceptance=Acceptance(None, False, attempts_per_answer=3),
            limits=CallLimits(
                **{"concurrency": 3, "retries": 1, "retry_delay_seconds": 0.0,
                   "stop_after_failures": 5, **limits}
            ),
            budget=Budget(tokens, None, Prices(1.0, 1.0)),
            stop=stop or threading.Event(),
            expected_calls=len(texts),
        )  # fmt: skip
        with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
            report = client.answer((ChatRequest(text, text) for text in texts), store)
            return report, store.answers(texts)

    return answer


def test_all_requests_are_answered_with_as_many_calls_at_once_as_allowed(run):
    meeting = threading.Barrier(3, timeout=10)

    def complete(request: ChatRequest) -> ChatResponse:
        meeting.wait()  # passes only when three calls are in flight together
        return ANSWER

    report, answers = run(complete, [f"film {number}" for number in range(9)])
    assert len(answers) == report.calls == 9 and report.stopped is None
    assert (report.prompt_tokens, report.completion_tokens) == (18, 27)
    assert report.cost_usd == pytest.approx(45e-6)


def test_answers_are_saved_before_the_next_call_starts(run, tmp_path):
    """Copies the database during each call: what a killed process would leave."""
    seen: list[int] = []

    def complete(request: ChatRequest) -> ChatResponse:
        copy = tmp_path / f"copy {request.prompt}"
        copy.mkdir()
        for file in tmp_path.glob("store.sqlite*"):
            shutil.copy(file, copy)
        database = sqlite3.connect(copy / "store.sqlite")
        seen.extend(database.execute("SELECT count(*) FROM answers").fetchone())
        database.close()
        return ANSWER

    run(complete, ["a", "b", "c", "d"], concurrency=1)
    assert seen == [0, 1, 2, 3]


def test_bad_answers_are_asked_for_again(run):
    calls: list[str] = []

    def complete(request: ChatRequest) -> ChatResponse:
        calls.append(request.prompt)
        good = request.prompt != "never" and calls.count(request.prompt) == 2
        return ANSWER if good else ChatResponse("", "stop", None, Usage(2, 0))

    report, answers = run(complete, ["second", "never"])
    assert sorted(calls) == ["never"] * 3 + ["second"] * 2
    assert report.calls == 5 and answers["second"].text == "Noir." and answers["never"].text == ""


def test_failures_are_reported_and_successes_end_the_row(run):
    def complete(request: ChatRequest) -> ChatResponse:
        if request.prompt.startswith("good"):
            return ANSWER
        if request.prompt.startswith("refused"):
            raise RequestRefused("http_400", "no")
        raise TransientFailure("server_error", "down")

    texts = ["down 1", "refused 1", "good 1", "down 2", "good 2", "refused 2"]
    report, answers = run(complete, texts, concurrency=1, stop_after_failures=3)
    assert report.stopped is None and set(answers) == {"good 1", "good 2"}
    assert {text: failure.reason for text, failure in report.failures.items()} == {
        "down 1": "server_error", "refused 1": "http_400",
        "down 2": "server_error", "refused 2": "http_400",
    }  # fmt: skip
    assert report.retries == 2

    report, _ = run(complete, [f"down {n}" for n in range(9)], concurrency=1, stop_after_failures=3)
    assert report.stopped == "endpoint" and len(report.failures) == 3
    assert "server_error: 2 calls; down" in report.problem


def test_an_unusable_endpoint_ends_the_run_and_keeps_what_is_in_flight(run):
    together = threading.Barrier(2, timeout=10)
    refused = threading.Event()

    def complete(request: ChatRequest) -> ChatResponse:
        together.wait()
        if request.prompt == "bad key":
            refused.set()
            raise EndpointUnusable("http_401", "wrong key")
        refused.wait(10)
        return ANSWER

    report, answers = run(complete, ["bad key", "in flight", "later"], concurrency=2)
    assert (report.stopped, report.problem) == ("endpoint", "wrong key")
    assert set(answers) == {"in flight"} and report.failures == {}


def test_a_stopped_run_does_not_wait_for_retries(run):
    stop = threading.Event()

    def complete(request: ChatRequest) -> ChatResponse:
        stop.set()
        raise TransientFailure("rate_limited", "later", retry_after=500.0)

    report, answers = run(complete, ["a", "b"], stop=stop, retries=5)
    assert report.stopped == "interrupted" and answers == {} and report.failures == {}


def test_the_budget_waits_for_calls_in_flight_before_it_stops(run):
    # 5 estimated prompt tokens and 20 answer tokens may be spent, 5 are: 60 allows 2 at once.
    report, answers = run(lambda request: ANSWER, [f"{n:04d}" for n in range(20)], tokens=60)
    assert report.stopped == "budget"
    assert report.calls == len(answers) == 8  # 40 spent: 25 more would exceed 60


def test_any_exception_of_a_call_is_its_own_failure(run):
    def complete(request: ChatRequest) -> ChatResponse:
        if request.prompt == "broken":
            raise LookupError("'hex' is not a text encoding")
        if request.prompt == "cannot be stored":
            return ChatResponse("half \ud800", "stop", None, Usage(2, 3))
        return ANSWER

    report, answers = run(complete, ["a", "broken", "b", "cannot be stored", "c"])
    assert set(answers) == {"a", "b", "c"} and report.stopped is None
    assert {name: failure.reason for name, failure in report.failures.items()} == {
        "broken": "malformed_response", "cannot be stored": "malformed_response",
    }  # fmt: skip
    assert "'hex' is not a text encoding" in report.failures["broken"].detail


def test_what_is_paid_is_stored_when_the_prompt_file_fails(tmp_path, parameters):
    in_flight = threading.Event()

    def complete(request: ChatRequest) -> ChatResponse:
        in_flight.wait(10)
        return ANSWER

    def pending():
        yield ChatRequest("a", "a")
        yield ChatRequest("b", "b")
        in_flight.set()
        raise OSError("the disk is gone")

    limits = CallLimits(concurrency=3, retries=0, retry_delay_seconds=0.0, stop_after_failures=5)
    client = EndpointClient(
        complete, parameters, Acceptance(None, False, 1), limits,
        Budget(None, None, Prices(None, None)), threading.Event(), 3,
    )  # fmt: skip
    with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
        with pytest.raises(OSError, match="the disk is gone"):
            client.answer(pending(), store)
        assert set(store.answers(["a", "b"])) == {"a", "b"}
