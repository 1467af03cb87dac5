"""Bodies of HTTP requests, plain or compressed with gzip."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from serving.server.errors import invalid

_GZIP = 16 + zlib.MAX_WBITS


class BodyTooLargeError(Exception):
    """The request's body is larger than the server takes."""


async def read_body(request: Request, limit: int) -> bytes:
    """Reads a body, and decompresses it when its `Content-Encoding` is gzip.

    Args:
      request: as it arrives.
      limit: largest size, in bytes, before and after decompression.

    Raises:
      BodyTooLargeError: the body is larger.
      RequestError: INVALID_ARGUMENT; the body is not what gzip writes.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError
    if body and "gzip" in request.headers.get("content-encoding", "").lower():
        return _decompressed(bytes(body), limit)
    return bytes(body)


def _decompressed(body: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj(_GZIP)
    try:
        plain = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise invalid("The request body is not valid gzip data.") from error
    if len(plain) > limit:
        raise BodyTooLargeError
    if not decompressor.eof:
        raise invalid("The request body is gzip data that ends too early.")
    return plain
