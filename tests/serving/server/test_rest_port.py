from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from configs.command_line import CommandError
from serving.server.rest_port import RestPort
from serving.server.tls import TlsSettings
from tests.serving.server.waiting import wait_until


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


def test_an_address_of_ipv6_is_listened_on() -> None:
    port = RestPort(application, "::1", 0)
    assert requests.get(f"http://[::1]:{port.port}/hello", timeout=20).text == "/hello"
    with pytest.raises(CommandError, match=rf"the REST port \[::1\]:{port.port} cannot be opened"):
        RestPort(application, "::1", port.port)
    port.stop(1)


def test_requests_on_too_many_connections_are_refused() -> None:
    port = RestPort(application, "127.0.0.1", 0, most_connections=2)
    url = f"http://127.0.0.1:{port.port}/hello"
    with requests.Session() as first, requests.Session() as second, requests.Session() as third:
        answers = [session.get(url, timeout=20).status_code for session in (first, second, third)]
        assert answers == [200, 200, 503]
        first.close()
        wait_until(lambda: third.get(url, timeout=20).status_code == 200)
    port.stop(1)


def test_the_time_for_requests_under_way_is_rounded_up() -> None:
    started = threading.Event()

    async def slow(scope, receive, send) -> None:
        started.set()
        await asyncio.sleep(1.3)
        await application(scope, receive, send)

    port = RestPort(slow, "127.0.0.1", 0)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.get, f"http://127.0.0.1:{port.port}/hello", timeout=20)
        assert started.wait(20)
        port.stop(1.4)
        assert answer.result().text == "/hello"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_cannot_start_closes_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    create_server = socket.create_server

    def remembered(*arguments, **options) -> socket.socket:
        opened.append(create_server(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(socket, "create_server", remembered)
    with pytest.raises(CommandError, match="stopped while it was starting"):
        RestPort(application, "127.0.0.1", 0, TlsSettings("no key", "no certificate"))
    assert [listener.fileno() for listener in opened] == [-1]
