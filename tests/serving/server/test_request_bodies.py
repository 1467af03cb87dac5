from __future__ import annotations

import asyncio
import gzip

import pytest
from starlette.requests import Request

from serving.server.errors import RequestError
from serving.server.rest_app import BodyTooLargeError, read_body

LIMIT = 1000
TEXT = b'{"instances": [1, 2]}'


def read(body: bytes, encoding: str = "") -> bytes:
    """Reads a request that arrives in pieces of 10 bytes."""
    pieces = [body[start : start + 10] for start in range(0, len(body), 10)] or [b""]

    async def receive() -> dict:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    headers = [(b"content-encoding", encoding.encode())] if encoding else []
    return asyncio.run(read_body(Request({"type": "http", "headers": headers}, receive), LIMIT))


def test_a_plain_body() -> None:
    assert read(TEXT) == TEXT
    assert read(b"") == b""
    assert read(b"x" * LIMIT) == b"x" * LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_compressed_body(encoding: str) -> None:
    assert read(gzip.compress(TEXT), encoding) == TEXT
    assert read(gzip.compress(b"x" * LIMIT), encoding) == b"x" * LIMIT


def test_the_limit_holds_before_and_after_decompression() -> None:
    with pytest.raises(BodyTooLargeError):
        read(b"x" * (LIMIT + 1))
    small = gzip.compress(b"x" * 10_000_000)[: LIMIT - 1]
    with pytest.raises(BodyTooLargeError):
        read(small, "gzip")


@pytest.mark.parametrize(
    "body", [TEXT, gzip.compress(TEXT)[:-9], b"\x1f\x8b"], ids=["plain", "cut off", "magic alone"]
)
def test_what_gzip_does_not_write_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="gzip data"):
        read(body, "gzip")
