"""What the gRPC and the REST client share."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from serving.client.errors import RankingError
from serving.client.profile_inputs import ProfileKinds, input_kinds, require_profile_fits
from serving.client.user_request import UserRequest, rank_inputs, row_inputs, user_inputs

_SCORE = "score"
_TASK_PREFIX = f"{_SCORE}_"
_ITEM_ID = "item_id"

Arrays = Mapping[str, np.ndarray]


class TaskScores(NamedTuple):
    """What a model of several tasks says about candidates.

    Attributes:
      scores: probabilities of the label, float32 [candidates].
      tasks: further task -> its probabilities, float32 [candidates]; empty for a model of one
        label.
    """

    scores: np.ndarray
    tasks: dict[str, np.ndarray]


class RetrievedItems(NamedTuple):
    """What a retrieval model finds for one user, best first.

    Attributes:
      item_ids: raw item ids, none of the user's history.
      scores: float32 [items], inner products of the vectors of user and items.
    """

    item_ids: list[str]
    scores: np.ndarray


class RankingClientBase(abc.ABC):
    """Ranks through a served model. Close it after use, or use it in a `with` statement.

    A model may read a profile of the user. Attributes that users of a request do not have are sent
    as not known; which there are, the client learns from the model when it refuses a request.
    """

    def __init__(self) -> None:
        self._profile: ProfileKinds = {}

    def rank(self, user: UserRequest, candidates: Sequence[str]) -> np.ndarray:
        """Scores candidates for one user; the user's side is computed once.

        A re-ranker scores the candidates in each other's presence.

        Args:
          user: who asks.
          candidates: raw item ids.

        Returns:
          Probabilities, float32 [candidates], in the candidates' order.

        Raises:
          RankingError: the server refused, was not there, was late, or answered something unusable.
        """
        if len(candidates) == 0:
            return np.zeros(0, dtype=np.float32)
        outputs = self._ask(
            "rank", lambda profile: rank_inputs(user, candidates, profile), [_SCORE]
        )
        return _checked_scores(outputs[_SCORE], (len(candidates),))

    def rank_tasks(self, user: UserRequest, candidates: Sequence[str]) -> TaskScores:
        """Scores candidates as `rank` does, by every task that the model has learned.

        Args:
          user: who asks.
          candidates: raw item ids.

        Raises:
          RankingError: the server refused, was not there, was late, or answered something unusable.
        """
        if len(candidates) == 0:
            return TaskScores(np.zeros(0, dtype=np.float32), {})
        outputs = self._ask(
            "rank", lambda profile: rank_inputs(user, candidates, profile), [_SCORE], others=True
        )
        shape = (len(candidates),)
        tasks = {
            name.removeprefix(_TASK_PREFIX): _checked_scores(outputs[name], shape, name)
            for name in sorted(outputs)
            if name.startswith(_TASK_PREFIX)
        }
        return TaskScores(_checked_scores(outputs[_SCORE], shape), tasks)

    def score_rows(self, users: Sequence[UserRequest], items: Sequence[str]) -> np.ndarray:
        """Scores aligned rows, each of one user and one item.

        Args:
          users: one per row.
          items: raw item ids, one per row.

        Returns:
          Probabilities, float32 [rows].

        Raises:
          ValueError: there are not as many users as items.
          RankingError: the server refused, was not there, was late, or answered something unusable.
        """
        if len(items) == len(users) == 0:
            return np.zeros(0, dtype=np.float32)
        outputs = self._ask(
            "serving_default", lambda profile: row_inputs(users, items, profile), [_SCORE]
        )
        return _checked_scores(outputs[_SCORE], (len(items),))

    def retrieve(self, user: UserRequest) -> RetrievedItems:
        """Finds the best of all items for one user, by a retrieval model.

        Raises:
          RankingError: the server refused, was not there, was late, or answered something unusable.
        """
        outputs = self._ask(
            "top_k", lambda profile: user_inputs([user], profile), [_ITEM_ID, _SCORE]
        )
        ids = outputs[_ITEM_ID]
        if ids.dtype != object:
            raise unusable_answer(f"output '{_ITEM_ID}' is {ids.dtype}, not strings")
        scores = _checked_scores(outputs[_SCORE], ids.shape)
        if len(ids) != 1 or ids.ndim != 2:
            raise unusable_answer(f"output '{_ITEM_ID}' has shape {ids.shape}, not (1, items)")
        texts = [item.decode() if isinstance(item, bytes) else item for item in ids[0]]
        # Where there are no more items, the rest of the answer is empty.
        found = sum(bool(item) for item in texts)
        return RetrievedItems(texts[:found], scores[0, :found])

    @abc.abstractmethod
    def served_version(self) -> int:
        """The model's version that is available on the server; the highest of several.

        Raises:
          RankingError: the server refused, was not there, was late, or has no available version.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connection."""

    @abc.abstractmethod
    def _predict(
        self, signature_name: str, inputs: Arrays, outputs: Sequence[str], others: bool = False
    ) -> Arrays:
        """Runs a signature and gives the outputs of these names; with `others`, all that it has."""

    @abc.abstractmethod
    def _string_inputs(self, signature_name: str) -> Mapping[str, bool]:
        """The inputs of a signature, and whether they are strings.

        Raises:
          RankingError: the model has no such signature, or does not describe it.
        """

    def _ask(
        self,
        signature_name: str,
        inputs: Callable[[ProfileKinds], Arrays],
        outputs: Sequence[str],
        others: bool = False,
    ) -> Arrays:
        known = self._profile
        try:
            return self._predict(signature_name, inputs(known), outputs, others)
        except RankingError as error:
            if error.code != "INVALID_ARGUMENT":
                raise
            try:
                found = input_kinds(self._string_inputs(signature_name))
            except RankingError:
                raise error from None
            asked = inputs(found)
            require_profile_fits(asked, found)
            if found == known:
                raise
            self._profile = found
        return self._predict(signature_name, asked, outputs, others)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def unusable_answer(reason: str) -> RankingError:
    """The server answered, but not what its API promises."""
    return RankingError("INTERNAL", f"the server's answer is unusable: {reason}")


def _checked_scores(
    scores: np.ndarray, expected: tuple[int, ...], name: str = _SCORE
) -> np.ndarray:
    if scores.dtype != np.float32:
        raise unusable_answer(f"output '{name}' is {scores.dtype}, not float32")
    if scores.shape != expected:
        raise unusable_answer(f"output '{name}' has shape {scores.shape}, not {expected}")
    if not np.isfinite(scores).all():
        raise unusable_answer(f"output '{name}' has values that are not finite")
    return scores
