"""A real HTTP server on loopback that speaks `/v1/embeddings`, well or badly."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.preprocessing.generation.chat_server import OpenAIServer, Reply

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


class EmbeddingsServer(OpenAIServer):
    """The server; `texts` counts how often each text was sent, `answered` how often answered."""

    def __init__(self, behaviour: Behaviour):
        super().__init__("/v1/embeddings")
        self.texts: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.calls: list[EmbeddingsCall] = []
        self._behaviour = behaviour

    def answer(self, body: dict[str, Any], authorization: str) -> Reply:
        with self._lock:
            earlier = sum(call.texts == body["input"] for call in self.calls)
            call = EmbeddingsCall(body["input"], earlier + 1, body, authorization)
            self.calls.append(call)
            self.texts.update(call.texts)
        reply = self._behaviour(call)
        self.wait(reply)
        return reply

    def sent(self, body: dict[str, Any], reply: Reply) -> None:
        if reply.status == 200:
            self.answered.update(body["input"])


def embeddings_server(
    behaviour: Behaviour = embeddings,
) -> AbstractContextManager[EmbeddingsServer]:
    return EmbeddingsServer(behaviour).serving()
