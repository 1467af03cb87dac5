from __future__ import annotations

import email.utils
import threading
import time

import pytest

from configs.loading import ConfigurationError
from configs.openai_connection import (
    ApiKey,
    Interrupted,
    OpenAIConnection,
    RequestRefused,
    Retrying,
    TransientFailure,
    require_address,
    seconds_of,
)
from preprocessing.answers.completion import ChatResponse, Usage
from tests.preprocessing.generation.chat_server import chat_server, completion
from tests.waiting import LONGEST_SECONDS


def chat(client):
    messages = [{"role": "user", "content": "Jaws?"}]
    return client.chat.completions.with_raw_response.create(model="toy", messages=messages)


def test_the_parsed_response_is_read():
    with chat_server(lambda call: completion("A shark.")) as server:
        connection = OpenAIConnection(server.url, None, LONGEST_SECONDS, 1 << 20)
        assert connection.call(chat, lambda response: response["model"]) == "toy-2026"
        connection.close()


def test_what_cannot_be_read_may_work_later():
    def refuse(response: object) -> None:
        raise ValueError("no vectors in it")

    with chat_server(lambda call: completion("A shark.")) as server:
        connection = OpenAIConnection(server.url, None, LONGEST_SECONDS, 1 << 20)
        with pytest.raises(TransientFailure, match="malformed_response: no vectors in it"):
            connection.call(chat, refuse)
        connection.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("2", 2.0), ("0.5", 0.5), ("-1", None), ("soon", None), ("inf", None),
     ("nan", None)],
)  # fmt: skip
def test_retry_after_in_seconds(header, seconds):
    assert seconds_of(header) == seconds


def test_retry_after_as_a_date():
    later = email.utils.formatdate(time.time() + 1000, usegmt=True)
    assert 1000 - LONGEST_SECONDS < (seconds_of(later) or 0) <= 1000
    assert seconds_of("Sun, 06 Nov 1994 08:49:37 GMT") is None


SECTION = "knowledge.encoder"


@pytest.mark.parametrize(
    "address", ["http://localhost:8000/v1", "https://api.example.org", "http://[::1]:8000"]
)
def test_an_address_is_enough(address, monkeypatch):
    monkeypatch.delenv("TOY_KEY", raising=False)
    require_address(SECTION, address, "TOY_KEY")


def test_openai_needs_a_key(monkeypatch):
    monkeypatch.setenv("TOY_KEY", "sk-1")
    require_address(SECTION, None, "TOY_KEY")
    monkeypatch.delenv("TOY_KEY")
    with pytest.raises(ConfigurationError, match="encoder.api_key_variable.*TOY_KEY is empty"):
        require_address(SECTION, None, "TOY_KEY")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost:8000", "write one such as http"),
        ("ftp://example.org", "write one such as http"),
        ("http://[x/v1", "is no address"),
        ("http://[::1/v1", "is no address"),
        ("http://]/v1", "is no address"),
        ("http://localhost:port/v1", "is no address"),
        ("http://localhost:99999/v1", "is no address"),
        ("http://local host/v1", "is no address"),
        ("http://local\nhost/v1", "is no address"),
        (f"http://{'x' * 64}.org/v1", "is no address"),
        ("http:///v1", "is no address"),
        ("http://me:secret@example.org/v1", "must not hold a password"),
        ("https://example.org/v1?key=secret", "must not hold a password or a query"),
    ],
)
def test_other_addresses_are_refused_without_showing_a_secret(address, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        require_address(SECTION, address, "TOY_KEY")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("address", ["http://localhost:8000/v1", None])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(address, monkeypatch):
    for key in ("sk-secret\n2", "sk secret", "sk-secret\x07", "sk-secrét"):
        monkeypatch.setenv("TOY_KEY", key)
        with pytest.raises(ConfigurationError, match=r"api_key_variable: .* TOY_KEY") as raised:
            require_address(SECTION, address, "TOY_KEY")
        assert "secr" not in str(raised.value)


@pytest.mark.parametrize("run", ["\\", "&#0", "&#x0", "%25"])
def test_a_key_is_looked_for_in_one_pass(run):
    """A search that begins anew at each character of a run of them would take hours."""
    text = run * 300_000
    key = ApiKey("sk-proj-secret")
    assert key.cut_out_of(f"{text} sk-proj-secret {text}") == f"{text} [key] {text}"


def test_white_space_around_a_key_is_none_of_it(monkeypatch):
    monkeypatch.setenv("TOY_KEY", "  sk-secret\r\n")
    key = ApiKey.from_environment(SECTION, "TOY_KEY")
    assert key is not None and key.value == "sk-secret" and "secret" not in repr(key)
    monkeypatch.setenv("TOY_KEY", " \n")
    assert ApiKey.from_environment(SECTION, "TOY_KEY") is None


RESPONSE = ChatResponse("Noir.", "stop", None, Usage(1, 1))


class Recorder(threading.Event):
    """Notes what it is asked to wait for, and does not wait."""

    def __init__(self, stopped: bool = False):
        super().__init__()
        self.delays: list[float] = []
        self._stopped = stopped

    def wait(self, timeout: float | None = None) -> bool:
        self.delays.append(timeout or 0.0)
        return self._stopped


def failing(times: int, failure: Exception):
    failures = iter([failure] * times)

    def call() -> ChatResponse:
        for problem in failures:
            raise problem
        return RESPONSE

    return call


def test_calls_again_until_there_is_a_response():
    stop = Recorder()
    retrying = Retrying(retries=9, first_delay=1.0, stop=stop)
    assert retrying.call(failing(9, TransientFailure("x", "y"))) == (RESPONSE, 9)
    bounds = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(0 <= delay <= bound for delay, bound in zip(stop.delays, bounds, strict=True))
    assert len(set(stop.delays)) == 9


def test_retry_after_is_waited_for_in_full():
    stop = Recorder()
    Retrying(1, 1.0, stop).call(failing(1, TransientFailure("x", "y", retry_after=30.0)))
    assert 30 <= stop.delays[0] <= 31


def test_retries_run_out():
    with pytest.raises(TransientFailure) as raised:
        Retrying(2, 1.0, Recorder()).call(failing(3, TransientFailure("x", "y")))
    assert raised.value.retries == 2 and raised.value.detail == "3 calls; y"


def test_too_long_a_wait_fails_at_once():
    stop = Recorder()
    with pytest.raises(TransientFailure) as raised:
        Retrying(5, 1.0, stop).call(failing(1, TransientFailure("x", "y", retry_after=86400.0)))
    assert "told to wait 86400 s" in raised.value.detail and stop.delays == []


def test_refused_requests_are_not_repeated():
    stop = Recorder()
    with pytest.raises(RequestRefused):
        Retrying(5, 1.0, stop).call(failing(1, RequestRefused("http_400", "no")))
    assert stop.delays == []


def test_stopping_ends_the_wait():
    with pytest.raises(Interrupted):
        Retrying(5, 1.0, Recorder(stopped=True)).call(failing(1, TransientFailure("x", "y")))
