"""What TensorFlow Serving's REST API answers."""

from __future__ import annotations

import json
import time

import numpy as np
import requests

from serving.client.answers import ITEM_ID, unusable_answer
from serving.client.errors import RankingError, ServerUnavailable

# As google/rpc/code.proto maps them, and 413 of a request that is too large.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    504: "DEADLINE_EXCEEDED",
}
_CHUNK_BYTES = 2**16


def body_of(response: requests.Response, until: float) -> bytes:
    """All of an answer.

    Raises:
      TimeoutError: it is not complete at the deadline. Each wait for more has a deadline of its
        own, which an answer that comes in small pieces never reaches.
    """
    body = bytearray()
    while piece := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        body += piece
        if time.monotonic() > until:
            raise TimeoutError("the answer is not complete")
    return bytes(body)


def document_of(status: int, body: bytes, target: str) -> dict[str, object]:
    """The JSON object that an answer is.

    Args:
      status: of HTTP.
      body: the answer.
      target: who answered, for messages.

    Raises:
      ServerUnavailable: the server takes no requests now.
      RankingError: the server refused the request, or the answer is no JSON object.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    reason = document.get("error") if isinstance(document, dict) else None
    if status == 503:
        raise ServerUnavailable(f"{target} takes no requests now ({reason or 'HTTP 503'})")
    if status != 200:
        explanation = reason or f"HTTP status {status}"
        raise RankingError(
            _CODES.get(status, "UNKNOWN"), f"{target} refused the request: {explanation}"
        )
    if not isinstance(document, dict):
        raise unusable_answer("it is not a JSON object")
    return document


def array_of(name: str, values: object) -> np.ndarray:
    """An output's nested lists of decimal numbers or of strings as an array.

    Args:
      name: the output's; ids may be whole numbers.
      values: as JSON has them.

    Raises:
      RankingError: INTERNAL; the values are of other types, or no array.
    """
    try:
        array = np.asarray(values, dtype=object)
    except ValueError as error:
        raise unusable_answer(f"output '{name}' is uneven") from error
    kinds = {type(value) for value in array.flat}
    if isinstance(values, list) and not kinds and name == ITEM_ID:
        return array
    if isinstance(values, list) and kinds <= {float}:
        return array.astype(np.float32)
    if isinstance(values, list) and kinds == {int} and name == ITEM_ID:
        return array.astype(np.int64)
    if isinstance(values, list) and kinds == {str}:
        return array
    raise unusable_answer(f"output '{name}' is not a list of decimal numbers or of strings")
