from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from configs.command_line import CommandError
from serving.options import ServerOptions
from serving.server.rest_port import RestPort, TlsSettings


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


HEADER = b"POST /hello HTTP/1.1\r\nHost: a\r\n"
BODY = HEADER + b"Content-Length: 100\r\n\r\nbegun"


async def reading(scope, receive, send) -> None:
    """Answers when the body is there."""
    request = Request(scope, receive)
    with contextlib.suppress(ClientDisconnect):
        await request.body()
        await PlainTextResponse("read")(scope, receive, send)


@contextlib.contextmanager
def opened(app=reading, **options: float) -> Iterator[RestPort]:
    port = RestPort(app, "127.0.0.1", 0, options=ServerOptions(**options))
    yield port
    port.stop(1)


def connected(port: RestPort, begun: bytes = b"", peer: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port.port), 20, source_address=(peer, 0))
    connection.sendall(begun)
    return connection


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError), connection:
        while part := connection.recv(1000):
            received += part
    return received


def answer_of(connection: socket.socket) -> bytes:
    """An answer on a connection that stays open."""
    received = b""
    while not received.endswith(b"read") and (part := connection.recv(1000)):
        received += part
    return received


def is_served(port: RestPort) -> bool:
    return requests.post(f"http://127.0.0.1:{port.port}/hello", b"x", timeout=20).text == "read"


@pytest.mark.parametrize(
    ("begun", "answer"),
    [
        (b"", b""),
        (HEADER, b"HTTP/1.1 408 Request Timeout"),
        (BODY, b"HTTP/1.1 408 Request Timeout"),
    ],
    ids=["nothing", "header", "body"],
)
def test_slow_requests_are_closed_and_others_are_served(begun: bytes, answer: bytes) -> None:
    with opened(rest_header_seconds=0.4, rest_body_seconds=0.4) as port:
        slow = connected(port, begun)
        assert is_served(port)
        received = rest_of(slow)
        assert received.startswith(answer) if answer else not received
        assert is_served(port)


def test_a_byte_now_and_then_gives_no_more_time() -> None:
    with opened(rest_header_seconds=0.4, rest_body_seconds=0.4) as port:
        for begun in (HEADER, BODY):
            slow = connected(port, begun)
            with pytest.raises(OSError), slow:
                while True:  # until the connection is closed
                    slow.sendall(b"a")
                    time.sleep(0.02)


def test_a_second_request_has_its_own_time() -> None:
    with opened(rest_header_seconds=0.4, rest_keep_alive_seconds=60) as port:
        connection = connected(port, BODY + b"b" * 95)
        assert answer_of(connection).startswith(b"HTTP/1.1 200")
        connection.sendall(HEADER)
        assert rest_of(connection).startswith(b"HTTP/1.1 408")


def test_an_idle_connection_is_closed() -> None:
    with opened(rest_keep_alive_seconds=0.2) as port:
        connection = connected(port, BODY + b"b" * 95)
        received = rest_of(connection)
        assert received.startswith(b"HTTP/1.1 200") and received.endswith(b"read")


@pytest.mark.parametrize("begun", [b"", HEADER, BODY], ids=["nothing", "header", "body"])
def test_many_slow_connections_lock_nobody_out(begun: bytes) -> None:
    with opened(max_rest_connections_per_peer=5) as port:
        slow = [connected(port, begun) for _ in range(12)]
        assert is_served(port)
        # The first ones made room for those that came later.
        for connection in slow[:7]:
            rest_of(connection)
        slow[-1].sendall(b"" if begun == BODY else BODY.removeprefix(begun))
        slow[-1].sendall(b"b" * 95)
        assert answer_of(slow[-1]).startswith(b"HTTP/1.1 200")
        for connection in slow[7:]:
            connection.close()


def test_a_crowd_from_one_address_closes_no_other_address() -> None:
    with opened(max_rest_connections_per_peer=2) as port:
        early = connected(port, HEADER, "127.0.0.2")
        crowd = [connected(port, HEADER) for _ in range(6)]
        assert is_served(port)
        early.sendall(BODY.removeprefix(HEADER) + b"b" * 95)
        assert answer_of(early).startswith(b"HTTP/1.1 200")
        for connection in [early, *crowd]:
            connection.close()


def test_where_all_connections_are_being_answered_another_is_refused() -> None:
    entered, finish = threading.Semaphore(0), threading.Event()

    async def busy(scope, receive, send) -> None:
        entered.release()
        while not finish.is_set():
            await asyncio.sleep(0.01)
        await application(scope, receive, send)

    with opened(busy, max_rest_connections=2) as port, ThreadPoolExecutor(2) as pool:
        url = f"http://127.0.0.1:{port.port}/hello"
        answers = [pool.submit(requests.get, url, timeout=20) for _ in range(2)]
        assert entered.acquire(timeout=20) and entered.acquire(timeout=20)
        assert requests.get(url, timeout=20).status_code == 503
        finish.set()
        assert [answer.result().text for answer in answers] == ["/hello"] * 2
        assert requests.get(url, timeout=20).text == "/hello"


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    given_up = threading.Event()

    async def endless(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(disconnected(receive))
        while not gone.done():
            await send({"type": "http.response.body", "body": b"a" * 100_000, "more_body": True})
            await asyncio.sleep(0)
        given_up.set()

    async def disconnected(receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    with opened(endless, rest_body_seconds=0.4) as port:
        with connected(port, HEADER + b"Content-Length: 0\r\n\r\n"):
            assert given_up.wait(20)


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
