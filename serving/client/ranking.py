"""What the gRPC and the REST client share."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from serving.client.errors import RankingError
from serving.client.user_request import UserRequest, rank_inputs, row_inputs

_OUTPUT = "score"


class RankingClientBase(abc.ABC):
    """Ranks through a served model. Close it after use, or use it in a `with` statement."""

    def rank(self, user: UserRequest, candidates: Sequence[str]) -> np.ndarray:
        """Scores candidates for one user; the user's side is computed once.

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
        return _checked(self._predict("rank", rank_inputs(user, candidates)), len(candidates))

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
        inputs = row_inputs(users, items)
        if len(items) == 0:
            return np.zeros(0, dtype=np.float32)
        return _checked(self._predict("serving_default", inputs), len(items))

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
    def _predict(self, signature_name: str, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output `score` of a signature."""

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


def _checked(scores: np.ndarray, expected: int) -> np.ndarray:
    if scores.dtype != np.float32:
        raise unusable_answer(f"output '{_OUTPUT}' is {scores.dtype}, not float32")
    if scores.shape != (expected,):
        raise unusable_answer(f"output '{_OUTPUT}' has shape {scores.shape}, not ({expected},)")
    if not np.isfinite(scores).all():
        raise unusable_answer(f"output '{_OUTPUT}' has values that are not finite")
    return scores
