"""What the gRPC and the REST client share."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np

from serving.client.errors import ProfileError, RankingError
from serving.client.inputs import (
    STRINGS_WITHOUT_PROFILE,
    InputKind,
    RawId,
    UserRequest,
    require_profile_fits,
)
from serving.client.requests import (
    Response,
    SignatureCall,
    inputs_after_refusal,
    ranking_call,
    retrieval_call,
    rows_call,
)
from serving.client.responses import Arrays, RankingAnswer, Reply, RetrievedItems
from serving.client.retries import RetryPolicy


class RankingClientBase(abc.ABC):
    """Ranks through a served model. Close it after use, or use it in a `with` statement.

    Safe to use from many threads at once. A model may read a profile of the user, and its ids may
    be whole numbers. Both the client learns from the model when it refuses a request: attributes
    that users of a request do not have are then sent as not known, and ids as int64.

    Attributes:
      retry_policy: deadline and retries of each call.
    """

    def __init__(self, retry_policy: RetryPolicy, server_skips_unknown_inputs: bool) -> None:
        """Starts without knowledge of the model.

        Args:
          retry_policy: deadline and retries of each call.
          server_skips_unknown_inputs: whether inputs that the model does not have are no error, so
            that a misspelt attribute must be found here.
        """
        self.retry_policy = retry_policy
        self._server_skips_unknown_inputs = server_skips_unknown_inputs
        self._model_inputs = STRINGS_WITHOUT_PROFILE

    def rank(self, user: UserRequest, candidates: Sequence[RawId]) -> np.ndarray:
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
        return self._put(ranking_call(user, candidates, all_tasks=False)).scores

    def ask(self, user: UserRequest, candidates: Sequence[RawId]) -> RankingAnswer:
        """Scores candidates as `rank` does, by every task of the model, and names the version.

        Args:
          user: who asks.
          candidates: raw item ids.

        Raises:
          RankingError: see `rank`.
        """
        return self._put(ranking_call(user, candidates, all_tasks=True))

    def ask_many(
        self,
        users: Sequence[UserRequest],
        candidates: Sequence[Sequence[RawId]],
        at_once: int = 8,
    ) -> list[RankingAnswer]:
        """Scores a list of candidates for each of several users, one request each.

        Args:
          users: who ask.
          candidates: raw item ids, one list per user.
          at_once: number of requests under way at a time.

        Returns:
          One answer per user, in their order.

        Raises:
          ValueError: there are not as many lists as users.
          RankingError: see `rank`; one request failed.
        """
        pairs = list(zip(users, candidates, strict=True))
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda pair: self.ask(*pair), pairs))

    def score_rows(self, users: Sequence[UserRequest], items: Sequence[RawId]) -> np.ndarray:
        """Scores aligned rows, each of one user and one item, in one request.

        Args:
          users: one per row.
          items: raw item ids, one per row.

        Returns:
          Probabilities, float32 [rows].

        Raises:
          ValueError: there are not as many users as items.
          RankingError: see `rank`.
        """
        return self._put(rows_call(users, items)).scores

    def retrieve(self, user: UserRequest) -> RetrievedItems:
        """Finds the best of all items for one user, by a retrieval model.

        Raises:
          RankingError: see `rank`.
        """
        return self._put(retrieval_call(user))

    def served_version(self) -> int:
        """The model's version that answers; the highest that is available, without a label.

        Raises:
          RankingError: the server refused, was not there, was late, has no available version, or
            none with the label.
        """
        return self.retry_policy.call(self._available_version)

    def wait_until_ready(self, timeout_seconds: float = 60.0) -> int:
        """Waits for the server to come up and the model to be available.

        Args:
          timeout_seconds: how long, at most.

        Returns:
          The version that answers, see `served_version`.

        Raises:
          RankingError: the model was still not available, or the server refused for good.
        """
        longest = self.retry_policy.timeout_seconds
        return RetryPolicy.until_ready(timeout_seconds).call(
            lambda seconds_left: self._available_version(min(seconds_left, longest))
        )

    def input_kinds(self, signature_name: str) -> Mapping[str, InputKind]:
        """The inputs of a signature, and the kind of their values.

        Raises:
          RankingError: the model has no such signature, or does not describe it.
        """
        return self._input_kinds(signature_name, self.retry_policy.deadline())

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connection."""

    @abc.abstractmethod
    def _input_kinds(self, signature_name: str, until: float) -> Mapping[str, InputKind]:
        """Does as `input_kinds` does, until a deadline; see `RetryPolicy.deadline`."""

    @abc.abstractmethod
    def _predict(self, call: SignatureCall[Any], inputs: Arrays, until: float) -> Reply:
        """Runs the call's signature on tensors; the reply has the outputs that it needs."""

    @abc.abstractmethod
    def _available_version(self, seconds_left: float) -> int:
        """Asks once for the version that answers."""

    def _put(self, call: SignatureCall[Response]) -> Response:
        if call.local_response is not None:
            return call.local_response
        model_inputs, until = self._model_inputs, self.retry_policy.deadline()
        try:
            inputs = call.inputs(model_inputs)
            if self._server_skips_unknown_inputs:
                require_profile_fits(inputs, model_inputs.profile)
            return call.read(self._predict(call, inputs, until))
        except RankingError as refusal:
            if refusal.code != "INVALID_ARGUMENT":
                raise
            try:
                kinds = self._input_kinds(call.signature_name, until)
            except RankingError as unknown:
                # A profile that was refused here says nothing of what the server would have said.
                raise (unknown if isinstance(refusal, ProfileError) else refusal) from None
            self._model_inputs, inputs = inputs_after_refusal(call, refusal, model_inputs, kinds)
        return call.read(self._predict(call, inputs, until))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
