from __future__ import annotations

import socket
import threading

import pytest
import requests
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from configs.command_line import CommandError
from serving.server.rest_port import RestPort


async def application(scope, receive, send) -> None:
    request = Request(scope, receive)
    await PlainTextResponse(request.url.path)(scope, receive, send)


def test_a_free_port_answers_until_it_is_stopped() -> None:
    port = RestPort(application, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{port.port}/hello"
    assert requests.get(url, timeout=20).text == "/hello"
    port.stop(1)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=20)
    assert "rest" not in [thread.name for thread in threading.enumerate()]


def test_a_port_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(
            CommandError, match=f"the REST port 127.0.0.1:{number} cannot be opened"
        ):
            RestPort(application, "127.0.0.1", number)
