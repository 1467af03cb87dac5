from __future__ import annotations

import base64
import gzip
import json
import shutil
import sqlite3
import threading
import urllib.parse

import pytest

from configs import openai_connection
from configs.openai_connection import (
    ApiKey,
    CallFailed,
    EndpointUnusable,
    Interrupted,
    RequestRefused,
    TransientFailure,
)
from preprocessing.answers.completion import ChatResponse, Usage
from preprocessing.generation.answer_store import Acceptance, AnswerStore
from preprocessing.generation.chat import ChatRequest
from preprocessing.generation.client import Budget
from preprocessing.generation.endpoint_client import CallLimits, EndpointClient, OpenAIEndpoint
from preprocessing.prompting.token_costs import Prices
from tests.preprocessing.generation.chat_server import Reply, chat_server, completion, failure
from tests.waiting import LONGEST_SECONDS, NEVER_SECONDS, wait_until

ANSWER = ChatResponse("Noir.", "stop", None, Usage(2, 3))


@pytest.fixture
def run(tmp_path, parameters):
    def answer(complete, texts, stop=None, tokens=None, budget=None, **limits):
        client = EndpointClient(
            complete=complete,
            parameters=parameters,
            acceptance=Acceptance(None, False, attempts_per_answer=3),
            limits=CallLimits(
                **{"concurrency": 3, "retries": 1, "retry_delay_seconds": 0.0,
                   "stop_after_failures": 5, **limits}
            ),
            budget=budget or Budget(tokens, None, Prices(1.0, 1.0)),
            stop=stop or threading.Event(),
            expected_calls=len(texts),
        )  # fmt: skip
        with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
            report = client.answer((ChatRequest(text, text) for text in texts), store)
            return report, store.answers(texts)

    return answer


def test_all_requests_are_answered_with_as_many_calls_at_once_as_allowed(run):
    meeting = threading.Barrier(3, timeout=LONGEST_SECONDS)

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
    together = threading.Barrier(2, timeout=LONGEST_SECONDS)
    noticed = threading.Event()

    class Noticing(Budget):
        def release(self, usage: Usage) -> None:
            super().release(usage)
            noticed.set()

    def complete(request: ChatRequest) -> ChatResponse:
        together.wait()
        if request.prompt == "bad key":
            raise EndpointUnusable("http_401", "wrong key")
        assert noticed.wait(LONGEST_SECONDS)
        return ANSWER

    budget = Noticing(None, None, Prices(1.0, 1.0))
    texts = ["bad key", "in flight", "later"]
    report, answers = run(complete, texts, budget=budget, concurrency=2)
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


@pytest.mark.parametrize("reason", ["timeout", "malformed_response"])
def test_calls_without_a_response_are_paid_from_the_budget(run, reason):
    """6 prompt tokens and 20 answer tokens each: 60 has room for two calls, not for three."""
    calls: list[str] = []

    def complete(request: ChatRequest) -> ChatResponse:
        calls.append(request.prompt)
        raise TransientFailure(reason, "nothing to read")

    texts = [f"{n:08d}" for n in range(9)]
    report, answers = run(complete, texts, tokens=60, retries=5, concurrency=1)
    assert calls == texts[:1] * 2 and answers == {} and report.stopped == "budget"
    assert (report.prompt_tokens, report.completion_tokens) == (12, 40)
    assert (report.calls, report.estimated_calls, report.retries) == (0, 2, 1)
    assert "no room for another call" in report.failures[texts[0]].detail


def test_a_call_that_is_left_behind_is_counted(run):
    """It was sent, and may be billed: 5 prompt tokens and 20 answer tokens."""
    stop = threading.Event()

    def complete(request: ChatRequest) -> ChatResponse:
        stop.set()
        raise Interrupted

    report, answers = run(complete, ["a"], stop=stop)
    assert report.stopped == "interrupted" and answers == {}
    assert (report.prompt_tokens, report.completion_tokens) == (5, 20)
    assert (report.calls, report.estimated_calls) == (0, 1)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_prompt_that_is_forbidden_does_not_end_the_run(run, concurrency):
    def complete(request: ChatRequest) -> ChatResponse:
        if request.prompt == "flagged":
            raise EndpointUnusable("http_403", "your input was flagged")
        return ANSWER

    for texts in (["flagged", "a", "b", "c"], ["a", "b", "flagged", "c"]):
        report, answers = run(complete, texts, concurrency=concurrency)
        assert report.stopped is None and set(answers) == {"a", "b", "c"}
        assert report.failures["flagged"].reason == "http_403"
    # What was refused comes first in the next run, whose key is known to work.
    report, answers = run(complete, ["flagged"] * 4 + ["d"], concurrency=1)
    assert report.stopped is None and set(answers) == {"d"}


def test_a_key_that_is_forbidden_everything_ends_the_run(run):
    calls: list[str] = []

    def complete(request: ChatRequest) -> ChatResponse:
        calls.append(request.prompt)
        raise EndpointUnusable("http_403", "not for this key")

    report, _ = run(complete, [str(n) for n in range(9)], concurrency=1, stop_after_failures=5)
    assert (report.stopped, report.problem) == ("endpoint", "not for this key")
    assert len(calls) == 3


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
        in_flight.wait(LONGEST_SECONDS)
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


KEY = "sk-secret-42"
NO_CREDIT = Reply(
    json.dumps({"error": {"message": "pay", "code": "insufficient_quota"}}).encode(), 429
)
GOOD = completion("A shark.").body
BOMB = gzip.compress(b" " * (32 << 20) + GOOD)


def call(
    reply: Reply, parameters, timeout: float = LONGEST_SECONDS, key: str | None = KEY, stop=None
):
    with chat_server(lambda call: reply) as server:
        api_key = None if key is None else ApiKey(key)
        endpoint = OpenAIEndpoint(server.url, api_key, parameters, timeout, stop)
        try:
            return endpoint.complete(ChatRequest("Jaws?", "0")), server.seen
        finally:
            endpoint.close()
            wait_until(server.calls.total)
            assert server.calls.total() == 1


def test_one_call_sends_the_parameters_and_reads_the_answer(parameters):
    response, seen = call(completion("A shark."), parameters)
    assert (response.text, response.answered_by) == ("A shark.", "toy-2026")
    assert response.usage == Usage(7, 5)
    assert seen[0].body == {
        "model": "toy",
        "messages": [{"role": "user", "content": "Jaws?"}],
        "max_tokens": 20,
        "temperature": 0.0,
    }
    assert seen[0].authorization == f"Bearer {KEY}"


def test_an_endpoint_without_a_key(parameters, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    response, _ = call(completion("A shark."), parameters, key=None)
    assert response.text == "A shark."


@pytest.mark.parametrize(
    ("reply", "kind", "reason", "retry_after"),
    [
        (failure(429, Retry_After="3"), TransientFailure, "rate_limited", 3.0),
        (failure(429), TransientFailure, "rate_limited", None),
        (failure(503, Retry_After="7"), TransientFailure, "server_error", 7.0),
        (failure(500), TransientFailure, "server_error", None),
        (failure(408), TransientFailure, "server_error", None),
        (Reply(b"<html>", 502), TransientFailure, "server_error", None),
        (Reply(b"{"), TransientFailure, "malformed_response", None),
        (Reply(b"\xff\xfe"), TransientFailure, "malformed_response", None),
        (Reply(b'{"choices": 1}'), TransientFailure, "malformed_response", None),
        (Reply(b'{"error": "busy", "choices": []}'), TransientFailure, "failed_request", None),
        (Reply(b"[" * 100_000), TransientFailure, "malformed_response", None),
        (Reply(b'{"choices": ' + b"1" * 5000 + b"}"), TransientFailure, "malformed_response", None),
        (failure(429, Retry_After="Fri, 01 Jan 99999999999 00:00:00 GMT"), TransientFailure,
         "rate_limited", None),
        (failure(503, Retry_After="1" * 400), TransientFailure, "server_error", None),
        (failure(500, Content_Type="application/json; charset=hex"), TransientFailure,
         "server_error", None),
        (Reply(GOOD, headers={"Content-Encoding": "br"}), TransientFailure, "malformed_response",
         None),
        (Reply(GOOD, headers={"Content-Encoding": "gzip"}), TransientFailure, "malformed_response",
         None),
        (Reply(BOMB, headers={"Content-Encoding": "gzip"}), TransientFailure, "malformed_response",
         None),
        (Reply(BOMB, 500, {"Content-Encoding": "gzip"}), TransientFailure, "malformed_response",
         None),
        (Reply(b" " * (17 << 20)), TransientFailure, "malformed_response", None),
        (Reply(endless=True), TransientFailure, "malformed_response", None),
        (Reply(GOOD[:-9]), TransientFailure, "malformed_response", None),
        (Reply(GOOD[:-9], cut=True), TransientFailure, "malformed_response", None),
        (Reply(b"", 307, {"Location": "http://127.0.0.1:1"}), EndpointUnusable, "http_307", None),
        (Reply(reset=True), TransientFailure, "connection_failed", None),
        (failure(400), RequestRefused, "http_400", None),
        (failure(422), RequestRefused, "http_422", None),
        (failure(401), EndpointUnusable, "http_401", None),
        (failure(404), EndpointUnusable, "http_404", None),
        (NO_CREDIT, EndpointUnusable, "no_credit", None),
    ],
)  # fmt: skip
def test_what_goes_wrong_has_a_name(parameters, reply, kind, reason, retry_after):
    with pytest.raises(CallFailed) as raised:
        call(reply, parameters)
    assert type(raised.value) is kind and raised.value.reason == reason
    assert getattr(raised.value, "retry_after", None) == retry_after


@pytest.mark.parametrize("charset", ["hex", "no-such", "utf-16"])
def test_json_is_utf_8_whatever_the_header_says(parameters, charset):
    headers = {"Content-Type": f"application/json; charset={charset}"}
    body = GOOD.replace(b"A shark", "Ein Haifisch, größer".encode())
    response, _ = call(Reply(body, headers=headers), parameters)
    assert response.text == "Ein Haifisch, größer."


def test_a_compressed_response_is_read(parameters):
    headers = {"Content-Encoding": "gzip"}
    response, _ = call(Reply(gzip.compress(GOOD), headers=headers), parameters)
    assert response.text == "A shark."


def test_names_that_are_no_text_can_be_stored(parameters):
    odd = completion("A shark.", finish_reason="\ud800", model="m\ud800")
    response, _ = call(odd, parameters)
    assert (response.finish_reason, response.answered_by) == ("\\ud800", "m\\ud800")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(GOOD, delay=NEVER_SECONDS),
        Reply(GOOD, drip=0.05),
        Reply(b"x" * 100, 500, drip=0.05),
        Reply(GOOD, headers_drip=0.05),
    ],
)
def test_a_late_answer_is_a_timeout_however_it_comes(parameters, reply):
    with pytest.raises(TransientFailure) as raised:
        call(reply, parameters, timeout=0.3)
    assert raised.value.reason == "timeout"


def test_a_stopped_run_waits_for_no_answer_that_is_late(parameters, monkeypatch):
    stop = threading.Event()
    stop.set()
    monkeypatch.setattr(openai_connection, "STOP_GRACE_SECONDS", LONGEST_SECONDS)
    response, _ = call(Reply(GOOD), parameters, stop=stop)
    assert response.text == "A shark."
    monkeypatch.setattr(openai_connection, "STOP_GRACE_SECONDS", 0.1)
    with pytest.raises(Interrupted):
        call(Reply(GOOD, delay=NEVER_SECONDS), parameters, timeout=NEVER_SECONDS, stop=stop)


TRICKY_KEY = "sk-a+b/c'd\\e=="
FORMS = {
    "plain": TRICKY_KEY,
    "repr": repr(f"Bearer {TRICKY_KEY}"),
    "json": json.dumps(TRICKY_KEY),
    "escaped": "".join(f"\\u{ord(character):04x}" for character in TRICKY_KEY),
    "url": urllib.parse.quote(TRICKY_KEY, safe=""),
    "lower url": urllib.parse.quote(TRICKY_KEY).replace("%2B", "%2b").replace("%3D", "%3d"),
    "base64": base64.b64encode(TRICKY_KEY.encode()).decode(),
    "base64 in a text": base64.b64encode(f"user:{TRICKY_KEY}".encode()).decode(),
    "hex": TRICKY_KEY.encode().hex(),
}


@pytest.mark.parametrize("form", FORMS)
def test_no_message_and_no_answer_shows_the_key(parameters, form):
    told = FORMS[form]
    with pytest.raises(RequestRefused) as raised:
        call(failure(400, f"bad key {told}"), parameters, key=TRICKY_KEY)
    assert told not in raised.value.detail and "[key]" in raised.value.detail
    assert raised.value.__cause__ is None and raised.value.__suppress_context__
    echoed = completion(f"Your key: {told}", finish_reason=told, model=told)
    response, _ = call(echoed, parameters, key=TRICKY_KEY)
    for text in (response.text, response.finish_reason, response.answered_by):
        assert told not in text and "[key]" in text


def test_a_placeholder_for_a_key_is_no_secret(parameters):
    response, _ = call(completion("A none too happy shark. Bearer none"), parameters, key="none")
    assert response.text == "A none too happy shark. Bearer [key]"
