from __future__ import annotations

import json

import pytest

from preprocessing.generation.chat import ChatRequest, Usage
from preprocessing.generation.failures import (
    CallFailed,
    EndpointUnusable,
    RequestRefused,
    TransientFailure,
)
from preprocessing.generation.openai_endpoint import OpenAIEndpoint
from tests.preprocessing.generation.chat_server import Reply, chat_server, completion, failure

KEY = "sk-secret-42"
NO_CREDIT = Reply(
    json.dumps({"error": {"message": "pay", "code": "insufficient_quota"}}).encode(), 429
)


def call(reply: Reply, parameters, timeout: float = 5.0, key: str | None = KEY):
    with chat_server(lambda call: reply) as server:
        endpoint = OpenAIEndpoint(server.url, key, parameters, timeout)
        try:
            return endpoint.complete(ChatRequest("Jaws?", "0")), server.seen
        finally:
            endpoint.close()
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
        (Reply(reset=True), TransientFailure, "connection_failed", None),
        (failure(400), RequestRefused, "http_400", None),
        (failure(422), RequestRefused, "http_422", None),
        (failure(401), EndpointUnusable, "http_401", None),
        (failure(404), EndpointUnusable, "http_404", None),
        (NO_CREDIT, EndpointUnusable, "no_credit", None),
    ],
)
def test_what_goes_wrong_has_a_name(parameters, reply, kind, reason, retry_after):
    with pytest.raises(CallFailed) as raised:
        call(reply, parameters)
    assert type(raised.value) is kind and raised.value.reason == reason
    assert getattr(raised.value, "retry_after", None) == retry_after


def test_a_late_answer_is_a_timeout(parameters):
    with pytest.raises(TransientFailure) as raised:
        call(Reply(completion("late").body, delay=0.5), parameters, timeout=0.1)
    assert raised.value.reason == "timeout"


def test_messages_do_not_show_the_key(parameters):
    with pytest.raises(RequestRefused) as raised:
        call(failure(400, f"bad key {KEY}"), parameters)
    assert KEY not in str(raised.value) and "[key]" in raised.value.detail
