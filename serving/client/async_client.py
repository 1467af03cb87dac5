"""The gRPC client for programs with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np

from serving.client.answers import Arrays, RankingAnswer, Reply, RetrievedItems
from serving.client.connection import Connection
from serving.client.errors import ModelAddress, RankingError
from serving.client.grpc_client import (
    available_version_of,
    described_version_of,
    explained,
    input_kinds_of,
    metadata_request,
    predict_request,
    reply_of,
    status_request,
)
from serving.client.inputs import STRINGS_WITHOUT_PROFILE, InputKind, RawId, UserRequest
from serving.client.requests import (
    Answer,
    Question,
    inputs_after_refusal,
    ranking_question,
    retrieval_question,
    rows_question,
)
from serving.client.retries import HedgeBudget, Hedger, Hedging, RetryPolicy
from serving.protocol.messages import (
    get_model_metadata_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

_DEFAULT_CONNECTION = Connection()


class AsyncRankingClient:
    """`RankingClient` for asyncio: the same calls, options and errors, to be awaited.

    Make it inside a coroutine, because its channel belongs to the running event loop:

        async with AsyncRankingClient("127.0.0.1:8500", "movies") as client:
            scores = await client.rank(user, ["50", "527"])

    Attributes:
      address: target, model and version that requests name.
      retry_policy: deadline and retries of each call.
      hedge_budget: how many requests were sent, and sent again; None without hedging.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        timeout_seconds: float = 2.0,
        maximum_attempts: int = 5,
        model_version: int | None = None,
        version_label: str | None = None,
        connection: Connection = _DEFAULT_CONNECTION,
        hedging: Hedging | None = None,
    ):
        """Makes the channel. Arguments and errors are those of `RankingClient`."""
        self.address = ModelAddress(target, model_name, model_version, version_label)
        self.retry_policy = RetryPolicy(timeout_seconds, maximum_attempts)
        self._known = STRINGS_WITHOUT_PROFILE
        self._channel = connection.async_channel(target)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._hedger = None if hedging is None else Hedger(hedging)

    @property
    def hedge_budget(self) -> HedgeBudget | None:
        """Counts of requests and hedges."""
        return None if self._hedger is None else self._hedger.budget

    async def rank(self, user: UserRequest, candidates: Sequence[RawId]) -> np.ndarray:
        """See `RankingClient.rank`."""
        return (await self._put(ranking_question(user, candidates, all_tasks=False))).scores

    async def ask(self, user: UserRequest, candidates: Sequence[RawId]) -> RankingAnswer:
        """See `RankingClient.ask`."""
        return await self._put(ranking_question(user, candidates, all_tasks=True))

    async def ask_many(
        self,
        users: Sequence[UserRequest],
        candidates: Sequence[Sequence[RawId]],
        at_once: int = 8,
    ) -> list[RankingAnswer]:
        """See `RankingClient.ask_many`."""
        places = asyncio.Semaphore(at_once)

        async def ask(user: UserRequest, items: Sequence[RawId]) -> RankingAnswer:
            async with places:
                return await self.ask(user, items)

        pairs = list(zip(users, candidates, strict=True))
        tasks = [asyncio.ensure_future(ask(*pair)) for pair in pairs]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def score_rows(self, users: Sequence[UserRequest], items: Sequence[RawId]) -> np.ndarray:
        """See `RankingClient.score_rows`."""
        return (await self._put(rows_question(users, items))).scores

    async def retrieve(self, user: UserRequest) -> RetrievedItems:
        """See `RankingClient.retrieve`."""
        return await self._put(retrieval_question(user))

    async def served_version(self) -> int:
        """See `RankingClient.served_version`."""
        return await self.retry_policy.call_async(self._available_version)

    async def wait_until_ready(self, timeout_seconds: float = 60.0) -> int:
        """See `RankingClient.wait_until_ready`."""
        longest = self.retry_policy.timeout_seconds
        return await RetryPolicy.until_ready(timeout_seconds).call_async(
            lambda seconds_left: self._available_version(min(seconds_left, longest))
        )

    async def input_kinds(self, signature_name: str) -> dict[str, InputKind]:
        """See `RankingClient.input_kinds`."""
        return await self._input_kinds(signature_name, self.retry_policy.deadline())

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    async def _put(self, question: Question[Answer]) -> Answer:
        if question.known_answer is not None:
            return question.known_answer
        known, until = self._known, self.retry_policy.deadline()
        try:
            return question.read(await self._predict(question, question.inputs(known), until))
        except RankingError as refusal:
            if refusal.code != "INVALID_ARGUMENT":
                raise
            try:
                kinds = await self._input_kinds(question.signature_name, until)
            except RankingError:
                raise refusal from None
            self._known, inputs = inputs_after_refusal(question, refusal, known, kinds)
        return question.read(await self._predict(question, inputs, until))

    async def _input_kinds(self, signature_name: str, until: float) -> dict[str, InputKind]:
        response = await self.retry_policy.call_async(self._metadata, until)
        return input_kinds_of(response, signature_name)

    async def _predict(self, question: Question[Any], inputs: Arrays, until: float) -> Reply:
        request = predict_request(self.address, question, inputs)
        method = self._predictions.Predict
        ask = self._once if self._hedger is None else self._hedged
        response = await self.retry_policy.call_async(
            lambda seconds_left: ask(method, request, seconds_left), until
        )
        return reply_of(question, response)

    async def _available_version(self, seconds_left: float) -> int:
        if self.address.version_label is not None:
            return described_version_of(await self._metadata(seconds_left))
        request = status_request(self.address)
        response = await self._once(self._models.GetModelStatus, request, seconds_left)
        return available_version_of(response, self.address)

    async def _metadata(
        self, seconds_left: float
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        request = metadata_request(self.address)
        return await self._once(self._predictions.GetModelMetadata, request, seconds_left)

    async def _once(
        self, method: grpc.aio.UnaryUnaryMultiCallable, request: Any, seconds_left: float
    ) -> Any:
        try:
            return await method(request, timeout=seconds_left)
        except grpc.RpcError as error:
            raise explained(error, self.address, self.retry_policy.timeout_seconds) from error

    async def _hedged(
        self, method: grpc.aio.UnaryUnaryMultiCallable, request: Any, seconds_left: float
    ) -> Any:
        assert self._hedger is not None
        try:
            return await self._hedger.first_answer_async(
                lambda seconds: method(request, timeout=seconds), seconds_left
            )
        except grpc.RpcError as error:
            raise explained(error, self.address, self.retry_policy.timeout_seconds) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
