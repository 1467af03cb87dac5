from __future__ import annotations

import email.utils
import time

import pytest

from preprocessing.openai_connection import OpenAIConnection, TransientFailure, seconds_of
from tests.preprocessing.generation.chat_server import chat_server, completion


def chat(client):
    messages = [{"role": "user", "content": "Jaws?"}]
    return client.chat.completions.with_raw_response.create(model="toy", messages=messages)


def test_the_parsed_response_is_read():
    with chat_server(lambda call: completion("A shark.")) as server:
        connection = OpenAIConnection(server.url, None, 5.0, 1 << 20)
        assert connection.call(chat, lambda response: response["model"]) == "toy-2026"
        connection.close()


def test_what_cannot_be_read_may_work_later():
    def refuse(response: object) -> None:
        raise ValueError("no vectors in it")

    with chat_server(lambda call: completion("A shark.")) as server:
        connection = OpenAIConnection(server.url, None, 5.0, 1 << 20)
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
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 90 < (seconds_of(later) or 0) <= 100
    assert seconds_of("Sun, 06 Nov 1994 08:49:37 GMT") is None
