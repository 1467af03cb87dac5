"""A real HTTP server on loopback that speaks `/v1/embeddings`, well or badly."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from tests.preprocessing.generation.chat_server import Reply, failure

WIDTH = 6


def vector_of(text: str, width: int = WIDTH) -> np.ndarray:
    """What the server makes of a text: numbers from its hash, float32."""
    digest = hashlib.sha256(text.encode()).digest()
    return (np.frombuffer(digest[:width], np.uint8).astype(np.float32) - 128) / 64


@dataclass(frozen=True)
class EmbeddingsCall:
    """What the server was asked.

    Attributes:
      texts: the input.
      number: calls with this very input so far, from 1.
      body: the whole request.
      authorization: the header.
    """

    texts: list[str]
    number: int
    body: dict[str, Any]
    authorization: str


def embeddings(call: EmbeddingsCall, width: int = WIDTH) -> Reply:
    """The right answer."""
    return reply_with([vector_of(text, width).tolist() for text in call.texts])


def reply_with(vectors: list[Any], order: list[int] | None = None) -> Reply:
    """Vectors as an embeddings object; `order` shuffles the entries with their index."""
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    document = {
        "object": "list",
        "model": "toy",
        "data": [data[place] for place in order] if order else data,
        "usage": {"prompt_tokens": 3 * len(vectors), "total_tokens": 3 * len(vectors)},
    }
    return Reply(json.dumps(document).encode())


Behaviour = Callable[[EmbeddingsCall], Reply]


class EmbeddingsServer:
    """The server; `texts` counts how often each text was sent and answered."""

    def __init__(self, behaviour: Behaviour):
        self.texts: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.calls: list[EmbeddingsCall] = []
        self._behaviour = behaviour
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, body: dict[str, Any], authorization: str) -> Reply:
        with self._lock:
            earlier = sum(call.texts == body["input"] for call in self.calls)
            call = EmbeddingsCall(body["input"], earlier + 1, body, authorization)
            self.calls.append(call)
            self.texts.update(call.texts)
        reply = self._behaviour(call)
        time.sleep(reply.delay)
        return reply

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # noqa: N802 - the name http.server calls
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = server.answer(body, self.headers.get("Authorization", ""))
                if self.path != "/v1/embeddings":
                    reply = failure(404, "no such address")
                try:
                    self.send_response(reply.status)
                    for name, value in reply.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(reply.body)))
                    self.end_headers()
                    self.wfile.write(reply.body)
                    if reply.status == 200:
                        server.answered.update(body["input"])
                except OSError:  # the client was killed
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        return Handler


@contextmanager
def embeddings_server(behaviour: Behaviour = embeddings) -> Iterator[EmbeddingsServer]:
    server = EmbeddingsServer(behaviour)
    server.start()
    try:
        yield server
    finally:
        server.stop()
