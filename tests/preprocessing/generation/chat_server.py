"""Real HTTP servers on loopback that speak as OpenAI does, well or badly; one for chats."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from typing_extensions import override

from tests.preprocessing.answers.small_files import completion as completion_object

KEY = "sk-very-secret-0123456789"
"""The API key that the tests of the command `generate` send."""


@dataclass(frozen=True)
class Reply:
    """What the server does with a call."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    reset: bool = False
    drip: float = 0.0  # seconds between two bytes of the body
    headers_drip: float = 0.0  # seconds between two headers, without end
    endless: bool = False  # blanks without end in the place of the body
    cut: bool = False  # the connection ends in the middle of the body


@dataclass(frozen=True)
class Call:
    """What the server was asked."""

    prompt: str
    number: int  # of this prompt's calls, from 1
    body: dict[str, Any]
    authorization: str


def completion(
    text: str | None, finish_reason: str = "stop", usage: object = None, **more
) -> Reply:
    counted = usage or {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    document = completion_object(
        text, finish_reason, **{"created": 0, "model": "toy-2026", "usage": counted, **more}
    )
    return Reply(json.dumps(document).encode())


def failure(status: int, message: str = "no", **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "type": "x", "code": None}}).encode()
    return Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of clients that are gone; tests look for tracebacks of the program."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class OpenAIServer(ABC):
    """A server of one address, such as `/v1/embeddings`."""

    def __init__(self, address: str):
        self._address = address
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @contextmanager
    def serving(self) -> Iterator[Self]:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._server.shutdown()
            self._server.server_close()

    def wait(self, reply: Reply) -> None:
        """Waits as long as the reply is to be late, or until the server stops."""
        self._stopping.wait(reply.delay)

    @abstractmethod
    def answer(self, body: dict[str, Any], authorization: str) -> Reply:
        """What is sent for a request."""

    def sent(self, body: dict[str, Any], reply: Reply) -> None:
        """Called when the whole reply is written."""
        del body, reply

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802 - the name http.server calls
                length = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(length))
                reply = server.answer(body, self.headers.get("Authorization", ""))
                if self.path != server._address:
                    reply = failure(404, "no such address")
                if reply.reset:
                    # Linger 0: closing sends RST, as a crashed peer does.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    os.close(self.connection.detach())
                    self.close_connection = True
                    return
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    if "Content-Type" not in reply.headers:
                        self.send_header("Content-Type", "application/json")
                    if reply.endless:
                        self.send_header("Transfer-Encoding", "chunked")
                    else:
                        self.send_header("Content-Length", str(len(reply.body) + reply.cut))
                    while reply.headers_drip:
                        self.flush_headers()
                        time.sleep(reply.headers_drip)
                        self.send_header("X-Slow", "yes")
                    self.end_headers()
                    while reply.endless:
                        self.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                    for byte in reply.body if reply.drip else b"":
                        self.wfile.write(bytes([byte]))
                        time.sleep(reply.drip)
                    if not reply.drip:
                        self.wfile.write(reply.body)
                    self.close_connection |= reply.cut
                    server.sent(body, reply)
                except OSError:  # the client was killed or gave up waiting
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        return Handler


Behaviour = Callable[[Call], Reply]


class ChatServer(OpenAIServer):
    """The server of chats; `calls` counts by prompt."""

    def __init__(self, behaviour: Behaviour):
        super().__init__("/v1/chat/completions")
        self.calls: Counter[str] = Counter()
        self.seen: list[Call] = []
        self.most_at_once = 0
        self._at_once = 0
        self._behaviour = behaviour

    def answer(self, body: dict[str, Any], authorization: str) -> Reply:
        prompt = body["messages"][-1]["content"]
        with self._lock:
            self.calls[prompt] += 1
            call = Call(prompt, self.calls[prompt], body, authorization)
            self.seen.append(call)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        reply = self._behaviour(call)
        self.wait(reply)
        with self._lock:
            self._at_once -= 1
        return reply


def chat_server(behaviour: Behaviour) -> AbstractContextManager[ChatServer]:
    return ChatServer(behaviour).serving()


def echo(call: Call) -> Reply:
    """A well-behaved answer that names its prompt."""
    return completion(f"About {call.prompt}")
