"""What a served model answers over gRPC and REST, checked."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import requests

from serving.client.errors import ModelAddress, RankingError, ServerUnavailable

SCORE = "score"
ITEM_ID = "item_id"
_TASK_PREFIX = f"{SCORE}_"

Arrays = Mapping[str, np.ndarray]


class Reply(NamedTuple):
    """The outputs of a signature.

    Attributes:
      outputs: output -> values.
      version: the version that computed them; None where the transport does not tell.
    """

    outputs: Arrays
    version: int | None


class RankingAnswer(NamedTuple):
    """What a model says about candidates.

    Attributes:
      scores: probabilities of the label, float32 [candidates], in the candidates' order.
      tasks: further task -> its probabilities, float32 [candidates]; empty for a model of one
        label.
      version: the version that answered; None over REST, which does not tell.
    """

    scores: np.ndarray
    tasks: dict[str, np.ndarray]
    version: int | None


class RetrievedItems(NamedTuple):
    """What a retrieval model finds for one user, best first.

    Attributes:
      item_ids: raw item ids, none of the user's history.
      scores: float32 [items], inner products of the vectors of user and items.
      version: the version that answered; None over REST, which does not tell.
    """

    item_ids: list[str]
    scores: np.ndarray
    version: int | None


def unusable_answer(reason: str) -> RankingError:
    """The server answered, but not what its API promises."""
    return RankingError("INTERNAL", f"the server's answer is unusable: {reason}")


def no_signature(name: str) -> RankingError:
    """The model's metadata has no such signature."""
    return RankingError("FAILED_PRECONDITION", f"the model's signature '{name}' was not found")


def highest_available(versions: Sequence[int], address: ModelAddress) -> int:
    """The highest of the versions that are available.

    Args:
      versions: all of them.
      address: the model.

    Raises:
      RankingError: NOT_FOUND; there are none.
    """
    if not versions:
        raise RankingError("NOT_FOUND", f"model '{address.model_name}' has no available version")
    return max(versions)


def read_ranking(reply: Reply, count: int) -> RankingAnswer:
    """Scores of candidates, by every task that was asked for.

    Args:
      reply: with the output `score`.
      count: number of candidates.

    Raises:
      RankingError: INTERNAL; a score is missing, not finite, or of another type.
    """
    tasks = {
        name.removeprefix(_TASK_PREFIX): _checked_scores(reply.outputs[name], (count,), name)
        for name in sorted(reply.outputs)
        if name.startswith(_TASK_PREFIX)
    }
    scores = _checked_scores(reply.outputs[SCORE], (count,))
    return RankingAnswer(scores, tasks, reply.version)


def read_retrieved_items(reply: Reply) -> RetrievedItems:
    """Items found for one user.

    Args:
      reply: with the outputs `item_id` [1, items] and `score` [1, items]. Where there are no more
        items, the ids are "" or -1.

    Raises:
      RankingError: INTERNAL; ids or scores are of another type or shape.
    """
    ids = reply.outputs[ITEM_ID]
    if ids.dtype != object and ids.dtype != np.int64:
        raise unusable_answer(f"output '{ITEM_ID}' is {ids.dtype}, not strings or int64")
    scores = _checked_scores(reply.outputs[SCORE], ids.shape)
    if len(ids) != 1 or ids.ndim != 2:
        raise unusable_answer(f"output '{ITEM_ID}' has shape {ids.shape}, not (1, items)")
    none = "" if ids.dtype == object else "-1"
    texts = [item.decode() if isinstance(item, bytes) else str(item) for item in ids[0]]
    found = sum(text != none for text in texts)
    return RetrievedItems(texts[:found], scores[0, :found], reply.version)


def _checked_scores(scores: np.ndarray, expected: tuple[int, ...], name: str = SCORE) -> np.ndarray:
    if scores.dtype != np.float32:
        raise unusable_answer(f"output '{name}' is {scores.dtype}, not float32")
    if scores.shape != expected:
        raise unusable_answer(f"output '{name}' has shape {scores.shape}, not {expected}")
    if not np.isfinite(scores).all():
        raise unusable_answer(f"output '{name}' has values that are not finite")
    return scores


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
