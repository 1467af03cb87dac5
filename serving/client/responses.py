"""What a served model answers, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from serving.client.errors import ModelAddress, RankingError

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


def unusable_response(reason: str) -> RankingError:
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
        raise unusable_response(f"output '{ITEM_ID}' is {ids.dtype}, not strings or int64")
    scores = _checked_scores(reply.outputs[SCORE], ids.shape)
    if len(ids) != 1 or ids.ndim != 2:
        raise unusable_response(f"output '{ITEM_ID}' has shape {ids.shape}, not (1, items)")
    none = "" if ids.dtype == object else "-1"
    texts = [item.decode() if isinstance(item, bytes) else str(item) for item in ids[0]]
    count = sum(text != none for text in texts)
    return RetrievedItems(texts[:count], scores[0, :count], reply.version)


def _checked_scores(scores: np.ndarray, expected: tuple[int, ...], name: str = SCORE) -> np.ndarray:
    if scores.dtype != np.float32:
        raise unusable_response(f"output '{name}' is {scores.dtype}, not float32")
    if scores.shape != expected:
        raise unusable_response(f"output '{name}' has shape {scores.shape}, not {expected}")
    if not np.isfinite(scores).all():
        raise unusable_response(f"output '{name}' has values that are not finite")
    return scores
