from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import requests
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from serving.options import ServerOptions
from serving.protocol.messages import prediction_service_pb2_grpc
from serving.server import LocalServer
from serving.server.rest_port import RestPort, TlsSettings, address_of, read_tls_settings
from tests.ports import needs_ipv6
from tests.serving.server.certificates import make_certificates, ssl_config
from tests.serving.server.numbered_model import add_request, answer_of, put_numbered_model
from tests.waiting import LONGEST_SECONDS


async def application(scope, receive, send) -> None:
    request = Request(scope, receive)
    await PlainTextResponse(request.url.path)(scope, receive, send)


def test_a_free_port_answers_until_it_is_stopped() -> None:
    port = RestPort(application, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{port.port}/hello"
    assert requests.get(url, timeout=LONGEST_SECONDS).text == "/hello"
    port.stop(1)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=LONGEST_SECONDS)
    assert "rest" not in [thread.name for thread in threading.enumerate()]


@needs_ipv6
def test_an_address_of_ipv6_is_listened_on() -> None:
    port = RestPort(application, "::1", 0)
    assert requests.get(f"http://[::1]:{port.port}/hello", timeout=LONGEST_SECONDS).text == "/hello"
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


LIMIT = 1000.0
"""Seconds, for whatever has a time; nobody waits for them, see `Clock`."""


class Clock:
    """The time of a port's event loop: that of the machine, and what a test adds to it."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def shown_to(self, app):
        """An application whose loop goes by this clock from its first request on."""

        async def within(scope, receive, send) -> None:
            self._loop = asyncio.get_running_loop()
            self._loop.time = lambda: time.monotonic() + self._ahead
            await app(scope, receive, send)

        return within

    def move(self, seconds: float) -> None:
        """Lets time pass, and waits until what is due has happened."""
        assert self._loop is not None
        happened = threading.Event()
        self._ahead += seconds
        then = happened.set
        for _ in range(3):  # turns of the loop: what is due, what follows from it, and its end
            then = functools.partial(self._loop.call_soon_threadsafe, then)
        then()
        assert happened.wait(LONGEST_SECONDS)


@contextlib.contextmanager
def opened(app=reading, **options: float) -> Iterator[RestPort]:
    times = dict.fromkeys(("rest_header_seconds", "rest_body_seconds"), LIMIT)
    port = RestPort(app, "127.0.0.1", 0, options=ServerOptions(**times | options))
    try:
        yield port
    finally:
        port.stop(1)


def connected(port: RestPort, begun: bytes = b"", peer: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(
        ("127.0.0.1", port.port), LONGEST_SECONDS, source_address=(peer, 0)
    )
    connection.sendall(begun)
    return connection


def rest_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError), connection:
        while part := connection.recv(1000):
            received += part
    return received


def response_on(connection: socket.socket) -> bytes:
    """An answer on a connection that stays open."""
    received = b""
    while not received.endswith(b"read") and (part := connection.recv(1000)):
        received += part
    return received


def is_silent(connection: socket.socket) -> bool:
    """Whether nothing comes, not even an end."""
    connection.setblocking(False)
    try:
        connection.recv(1)
    except BlockingIOError:
        return True
    finally:
        connection.settimeout(LONGEST_SECONDS)
    return False


def is_served(port: RestPort) -> bool:
    """Asks over a connection of its own; what others had sent before is read then."""
    return (
        requests.post(f"http://127.0.0.1:{port.port}/hello", b"x", timeout=LONGEST_SECONDS).text
        == "read"
    )


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
    clock = Clock()
    with opened(clock.shown_to(reading)) as port:
        slow = connected(port, begun)
        assert is_served(port)
        clock.move(0.9 * LIMIT)
        assert is_served(port) and is_silent(slow)
        clock.move(0.2 * LIMIT)
        received = rest_of(slow)
        assert received.startswith(answer) if answer else not received
        assert is_served(port)


def test_a_byte_now_and_then_gives_no_more_time() -> None:
    clock = Clock()
    with opened(clock.shown_to(reading)) as port:
        for begun in (HEADER, BODY):
            slow = connected(port, begun)
            with pytest.raises(OSError), slow:
                for _ in range(20):  # until the connection is closed
                    slow.sendall(b"a")
                    assert is_served(port)
                    clock.move(0.3 * LIMIT)


def test_a_second_request_has_its_own_time() -> None:
    clock = Clock()
    with opened(clock.shown_to(reading), rest_keep_alive_seconds=100 * LIMIT) as port:
        connection = connected(port, BODY + b"b" * 95)
        assert response_on(connection).startswith(b"HTTP/1.1 200")
        assert is_served(port)
        clock.move(0.9 * LIMIT)
        connection.sendall(HEADER)
        assert is_served(port)
        clock.move(0.9 * LIMIT)
        assert is_served(port) and is_silent(connection)
        clock.move(0.2 * LIMIT)
        assert rest_of(connection).startswith(b"HTTP/1.1 408")


def test_an_idle_connection_is_closed() -> None:
    clock = Clock()
    with opened(clock.shown_to(reading), rest_keep_alive_seconds=LIMIT) as port:
        connection = connected(port, BODY + b"b" * 95)
        received = response_on(connection)
        assert received.startswith(b"HTTP/1.1 200") and received.endswith(b"read")
        assert is_served(port)  # so the connection is idle, too, as far as the port knows
        clock.move(0.9 * LIMIT)
        assert is_served(port) and is_silent(connection)
        clock.move(0.2 * LIMIT)
        assert rest_of(connection) == b""


@pytest.mark.parametrize("begun", [b"", HEADER, BODY], ids=["nothing", "header", "body"])
def test_many_slow_connections_lock_nobody_out(begun: bytes) -> None:
    called = threading.Semaphore(0)

    async def counting(scope, receive, send) -> None:
        called.release()
        await reading(scope, receive, send)

    with opened(counting, max_rest_connections_per_peer=5) as port:
        slow = []
        for _ in range(12):
            slow.append(connected(port, begun))
            # A request is being answered, not waited for, until it asks for the rest of its body.
            assert begun != BODY or called.acquire(timeout=LONGEST_SECONDS)
        assert is_served(port)
        # The first ones made room for those that came later.
        for connection in slow[:7]:
            rest_of(connection)
        slow[-1].sendall(b"" if begun == BODY else BODY.removeprefix(begun))
        slow[-1].sendall(b"b" * 95)
        assert response_on(slow[-1]).startswith(b"HTTP/1.1 200")
        for connection in slow[7:]:
            connection.close()


def test_a_crowd_from_one_address_closes_no_other_address() -> None:
    with opened(max_rest_connections_per_peer=2) as port:
        early = connected(port, HEADER, "127.0.0.2")
        crowd = [connected(port, HEADER) for _ in range(6)]
        assert is_served(port)
        early.sendall(BODY.removeprefix(HEADER) + b"b" * 95)
        assert response_on(early).startswith(b"HTTP/1.1 200")
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
        answers = [pool.submit(requests.get, url, timeout=LONGEST_SECONDS) for _ in range(2)]
        assert entered.acquire(timeout=LONGEST_SECONDS) and entered.acquire(timeout=LONGEST_SECONDS)
        assert requests.get(url, timeout=LONGEST_SECONDS).status_code == 503
        finish.set()
        assert [answer.result().text for answer in answers] == ["/hello"] * 2
        assert requests.get(url, timeout=LONGEST_SECONDS).text == "/hello"


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
            assert given_up.wait(LONGEST_SECONDS)


def test_the_time_for_requests_under_way_is_rounded_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, stopping = threading.Event(), threading.Event()
    allowed: list[float | None] = []
    shutdown = uvicorn.Server.shutdown

    async def observed(server: uvicorn.Server, **arguments) -> None:
        allowed.append(server.config.timeout_graceful_shutdown)
        stopping.set()
        await shutdown(server, **arguments)

    async def slow(scope, receive, send) -> None:
        started.set()
        while not stopping.is_set():
            await asyncio.sleep(0.01)
        await application(scope, receive, send)

    monkeypatch.setattr(uvicorn.Server, "shutdown", observed)
    port = RestPort(slow, "127.0.0.1", 0)
    with ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{port.port}/hello"
        answer = pool.submit(requests.get, url, timeout=LONGEST_SECONDS)
        assert started.wait(LONGEST_SECONDS)
        port.stop(LONGEST_SECONDS - 0.6)
        assert answer.result().text == "/hello"
    assert allowed == [LONGEST_SECONDS]


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


AUTHORITY, SERVER, CLIENT = make_certificates()


def read(tmp_path: Path, **values: str | bool) -> TlsSettings:
    path = tmp_path / "ssl.config"
    path.write_text(ssl_config(**values))
    return read_tls_settings(path)


def good(**values: str | bool) -> dict[str, str | bool]:
    return {"server_key": SERVER.key, "server_cert": SERVER.certificate, **values}


def served_over_tls(tmp_path: Path, settings: TlsSettings) -> LocalServer:
    put_numbered_model(tmp_path / "base", 2)
    options = ServerOptions(grace_seconds=1)
    return LocalServer({"numbered": tmp_path / "base"}, options=options, tls=settings)


def predict(port: int, credentials: grpc.ChannelCredentials) -> list[float]:
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return answer_of(stub.Predict(add_request([1.0]), LONGEST_SECONDS))


def test_both_ports_show_the_certificate(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_text(AUTHORITY.certificate)
    with served_over_tls(tmp_path, read(tmp_path, **good())) as server:
        trusting = grpc.ssl_channel_credentials(AUTHORITY.certificate.encode())
        assert predict(server.grpc_port, trusting) == [3.0]
        url = f"https://127.0.0.1:{server.rest_port}/v1/models/numbered"
        assert requests.get(url, verify=str(authority), timeout=LONGEST_SECONDS).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, timeout=LONGEST_SECONDS)
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url.replace("https", "http"), timeout=LONGEST_SECONDS)
        with pytest.raises(grpc.RpcError):
            predict(server.grpc_port, grpc.ssl_channel_credentials(CLIENT.certificate.encode()))


def test_clients_must_show_a_certificate_where_that_is_asked(tmp_path: Path) -> None:
    settings = read(tmp_path, **good(custom_ca=AUTHORITY.certificate, client_verify=True))
    files = {"ca": AUTHORITY.certificate, "cert": CLIENT.certificate, "key": CLIENT.key}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with served_over_tls(tmp_path, settings) as server:
        known = grpc.ssl_channel_credentials(
            AUTHORITY.certificate.encode(), CLIENT.key.encode(), CLIENT.certificate.encode()
        )
        assert predict(server.grpc_port, known) == [3.0]
        unknown = grpc.ssl_channel_credentials(AUTHORITY.certificate.encode())
        with pytest.raises(grpc.RpcError):
            predict(server.grpc_port, unknown)
        url = f"https://127.0.0.1:{server.rest_port}/v1/models/numbered"
        shown = (str(tmp_path / "cert"), str(tmp_path / "key"))
        known_answer = requests.get(
            url, verify=str(tmp_path / "ca"), cert=shown, timeout=LONGEST_SECONDS
        )
        assert known_answer.status_code == 200
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url, verify=str(tmp_path / "ca"), timeout=LONGEST_SECONDS)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"server_key": ""}, "server_key is missing"),
        ({"server_cert": ""}, "server_cert is missing"),
        ({"client_verify": True}, "client_verify needs custom_ca"),
        ({"server_key": CLIENT.key}, "must be PEM texts"),
        ({"server_key": "SECRET"}, "must be PEM texts"),
        ({"server_cert": "café"}, "must be PEM texts"),
        ({"custom_ca": "nothing"}, "must be PEM texts"),
    ],
)
def test_wrong_files_are_refused_without_quoting_them(
    tmp_path: Path, values: dict[str, str | bool], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"ssl.config: .*{reason}") as caught:
        read(tmp_path, **good(**values))
    assert "SECRET" not in str(caught.value)
    assert SERVER.key.splitlines()[1] not in str(caught.value)


def test_a_key_with_a_password_is_refused_and_asks_nobody(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(SERVER.key.encode(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    ).decode()
    with pytest.raises(ConfigurationError, match="without a password"):
        read(tmp_path, **good(server_key=locked))


def test_the_key_is_not_in_the_settings_text_and_no_old_protocol_is_spoken() -> None:
    settings = TlsSettings(SERVER.key, SERVER.certificate)
    assert SERVER.key.splitlines()[1] not in repr(settings)
    assert settings.context().minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("127.0.0.1", "127.0.0.1:85"),
        ("localhost", "localhost:85"),
        ("::1", "[::1]:85"),
        ("::", "[::]:85"),
    ],
)
def test_ipv6_addresses_stand_in_brackets(host: str, written: str) -> None:
    assert address_of(host, 85) == written
