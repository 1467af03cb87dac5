"""The gRPC clients, for threads and for asyncio, and their messages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

import grpc
import numpy as np

from serving.client.connection import Connection
from serving.client.errors import ModelAddress, RankingError, ServerUnavailable
from serving.client.inputs import STRINGS_WITHOUT_PROFILE, InputKind, RawId, UserRequest
from serving.client.ranking import RankingClientBase
from serving.client.requests import (
    Response,
    SignatureCall,
    inputs_after_refusal,
    ranking_call,
    retrieval_call,
    rows_call,
)
from serving.client.responses import (
    Arrays,
    RankingAnswer,
    Reply,
    RetrievedItems,
    highest_available,
    no_signature,
    unusable_response,
)
from serving.client.retries import HedgeBudget, Hedger, Hedging, RetryPolicy
from serving.protocol.messages import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    types_pb2,
)
from serving.protocol.tensors import TensorFormatError, pack, unpack

_SIGNATURES = "signature_def"
_KINDS = {types_pb2.DT_STRING: InputKind.STRINGS, types_pb2.DT_INT64: InputKind.INTEGERS}


def predict_request(
    address: ModelAddress, call: SignatureCall[Any], inputs: Arrays
) -> predict_pb2.PredictRequest:
    """A call with its tensors, as a message."""
    request = predict_pb2.PredictRequest(
        model_spec=_specification(address, call.signature_name),
        output_filter=[] if call.all_outputs else call.outputs,
    )
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(pack(array))
    return request


def metadata_request(address: ModelAddress) -> get_model_metadata_pb2.GetModelMetadataRequest:
    """Asks what the model's signatures are, and which version a label names."""
    return get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=_specification(address), metadata_field=[_SIGNATURES]
    )


def status_request(address: ModelAddress) -> get_model_status_pb2.GetModelStatusRequest:
    """Asks which versions there are. TensorFlow Serving does not look at a label here."""
    return get_model_status_pb2.GetModelStatusRequest(model_spec=_specification(address))


def explained(error: grpc.RpcError, address: ModelAddress, timeout_seconds: float) -> RankingError:
    """A failed call in words.

    Args:
      error: what the call raised.
      address: what was asked.
      timeout_seconds: the deadline it had.
    """
    code, target = error.code(), address.target
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServerUnavailable(f"no server takes requests at {target} ({error.details()})")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return RankingError(code.name, f"{target} did not answer within {timeout_seconds:g} s")
    return RankingError(code.name, f"{target} refused the request: {error.details()}")


def closed(reason: str, address: ModelAddress) -> RankingError:
    """A call whose channel was closed before or meanwhile, or between two tries, in words."""
    return RankingError("CANCELLED", f"{address.target} is not asked any more ({reason})")


def available_version_of(
    response: get_model_status_pb2.GetModelStatusResponse, address: ModelAddress
) -> int:
    """The highest version that is available.

    Raises:
      RankingError: NOT_FOUND; none is.
    """
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    versions = [
        status.version for status in response.model_version_status if status.state == available
    ]
    return highest_available(versions, address)


def described_version_of(response: get_model_metadata_pb2.GetModelMetadataResponse) -> int:
    """The version that metadata describe: the one that the request's label names.

    Raises:
      RankingError: INTERNAL; the answer does not tell.
    """
    if not response.model_spec.HasField("version"):
        raise unusable_response("it does not tell the version")
    return response.model_spec.version.value


def reply_of(call: SignatureCall[Any], response: predict_pb2.PredictResponse) -> Reply:
    """The outputs of an answer, and the version that gave it.

    Raises:
      RankingError: INTERNAL; an output is missing or unreadable.
    """
    for name in call.outputs:
        if name not in response.outputs:
            raise unusable_response(f"it has no output '{name}'")
    try:
        outputs = {name: unpack(tensor) for name, tensor in response.outputs.items()}
    except TensorFormatError as error:
        raise unusable_response(str(error)) from error
    specification = response.model_spec
    version = specification.version.value if specification.HasField("version") else None
    return Reply(outputs, version)


def input_kinds_of(
    response: get_model_metadata_pb2.GetModelMetadataResponse, signature_name: str
) -> dict[str, InputKind]:
    """Input of a signature -> kind of its values.

    Raises:
      RankingError: FAILED_PRECONDITION; the model has no such signature.
    """
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata[_SIGNATURES].Unpack(signatures)
    if signature_name not in signatures.signature_def:
        raise no_signature(signature_name)
    return {
        name: _KINDS.get(tensor.dtype, InputKind.NUMBERS)
        for name, tensor in signatures.signature_def[signature_name].inputs.items()
    }


def _specification(address: ModelAddress, signature_name: str = "") -> model_pb2.ModelSpec:
    specification = model_pb2.ModelSpec(name=address.model_name, signature_name=signature_name)
    if address.model_version is not None:
        specification.version.value = address.model_version
    if address.version_label is not None:
        specification.version_label = address.version_label
    return specification


_DEFAULT_CONNECTION = Connection()


class RankingClient(RankingClientBase):
    """Ranks over gRPC; one channel is kept open and shared by all calls.

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
        """Makes the channel, which connects when it is first used.

        Args:
          target: `host:port` of TensorFlow Serving or the local server.
          model_name: the model's name there.
          timeout_seconds: deadline of one call with all its attempts and waits.
          maximum_attempts: at least 1; only a server that takes no requests is tried again.
          model_version: the version to ask for.
          version_label: the label of the version to ask for, such as "stable". Without version and
            label a server answers with its highest version, which may be a canary.
          connection: encryption, balancing and keepalive.
          hedging: when to send a request a second time; never if None.

        Raises:
          OSError: a certificate cannot be read.
          ValueError: both a version and a label are given.
        """
        super().__init__(
            RetryPolicy(timeout_seconds, maximum_attempts), server_skips_unknown_inputs=False
        )
        self.address = ModelAddress(target, model_name, model_version, version_label)
        self._channel = connection.channel(target)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._hedger = None if hedging is None else Hedger(hedging)

    @property
    def hedge_budget(self) -> HedgeBudget | None:
        """Counts of requests and hedges."""
        return None if self._hedger is None else self._hedger.budget

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _input_kinds(self, signature_name: str, until: float) -> dict[str, InputKind]:
        response = self.retry_policy.call(self._metadata, until)
        return input_kinds_of(response, signature_name)

    def _predict(self, call: SignatureCall[Any], inputs: Arrays, until: float) -> Reply:
        request = predict_request(self.address, call, inputs)
        method = self._predictions.Predict
        ask = self._once if self._hedger is None else self._hedged
        response = self.retry_policy.call(
            lambda seconds_left: ask(method, request, seconds_left), until
        )
        return reply_of(call, response)

    def _available_version(self, seconds_left: float) -> int:
        if self.address.version_label is not None:
            return described_version_of(self._metadata(seconds_left))
        request = status_request(self.address)
        response = self._once(self._models.GetModelStatus, request, seconds_left)
        return available_version_of(response, self.address)

    def _metadata(self, seconds_left: float) -> get_model_metadata_pb2.GetModelMetadataResponse:
        request = metadata_request(self.address)
        return self._once(self._predictions.GetModelMetadata, request, seconds_left)

    def _once(self, method: grpc.UnaryUnaryMultiCallable, request: Any, seconds_left: float) -> Any:
        try:
            return method(request, timeout=seconds_left)
        except grpc.RpcError as error:
            raise explained(error, self.address, self.retry_policy.timeout_seconds) from error
        except ValueError as error:
            raise closed(str(error), self.address) from error

    def _hedged(
        self, method: grpc.UnaryUnaryMultiCallable, request: Any, seconds_left: float
    ) -> Any:
        assert self._hedger is not None
        try:
            return self._hedger.first_response(
                lambda seconds: method.future(request, timeout=seconds), seconds_left
            )
        except grpc.RpcError as error:
            raise explained(error, self.address, self.retry_policy.timeout_seconds) from error
        except ValueError as error:
            raise closed(str(error), self.address) from error


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
        self._model_inputs = STRINGS_WITHOUT_PROFILE
        self._channel = connection.async_channel(target)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._hedger = None if hedging is None else Hedger(hedging)

    @property
    def hedge_budget(self) -> HedgeBudget | None:
        """Counts of requests and hedges."""
        return None if self._hedger is None else self._hedger.budget

    async def rank(self, user: UserRequest, candidates: Sequence[RawId]) -> np.ndarray:
        """Scores of candidates for one user, as `RankingClient.rank` has them."""
        return (await self._put(ranking_call(user, candidates, all_tasks=False))).scores

    async def ask(self, user: UserRequest, candidates: Sequence[RawId]) -> RankingAnswer:
        """Scores of every task and the version, as `RankingClient.ask` has them."""
        return await self._put(ranking_call(user, candidates, all_tasks=True))

    async def ask_many(
        self,
        users: Sequence[UserRequest],
        candidates: Sequence[Sequence[RawId]],
        at_once: int = 8,
    ) -> list[RankingAnswer]:
        """Asks for several users, `at_once` at a time; the first error ends all."""
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
        """Scores of aligned rows, as `RankingClient.score_rows` has them."""
        return (await self._put(rows_call(users, items))).scores

    async def retrieve(self, user: UserRequest) -> RetrievedItems:
        """The best of all items for one user, by a retrieval model."""
        return await self._put(retrieval_call(user))

    async def served_version(self) -> int:
        """The model's version that answers."""
        return await self.retry_policy.call_async(self._available_version)

    async def wait_until_ready(self, timeout_seconds: float = 60.0) -> int:
        """Waits until the model is available; returns the version that answers."""
        longest = self.retry_policy.timeout_seconds
        return await RetryPolicy.until_ready(timeout_seconds).call_async(
            lambda seconds_left: self._available_version(min(seconds_left, longest))
        )

    async def input_kinds(self, signature_name: str) -> dict[str, InputKind]:
        """The inputs of a signature, and the kind of their values."""
        return await self._input_kinds(signature_name, self.retry_policy.deadline())

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    async def _put(self, call: SignatureCall[Response]) -> Response:
        if call.local_response is not None:
            return call.local_response
        model_inputs, until = self._model_inputs, self.retry_policy.deadline()
        try:
            return call.read(await self._predict(call, call.inputs(model_inputs), until))
        except RankingError as refusal:
            if refusal.code != "INVALID_ARGUMENT":
                raise
            try:
                kinds = await self._input_kinds(call.signature_name, until)
            except RankingError:
                raise refusal from None
            self._model_inputs, inputs = inputs_after_refusal(call, refusal, model_inputs, kinds)
        return call.read(await self._predict(call, inputs, until))

    async def _input_kinds(self, signature_name: str, until: float) -> dict[str, InputKind]:
        response = await self.retry_policy.call_async(self._metadata, until)
        return input_kinds_of(response, signature_name)

    async def _predict(self, call: SignatureCall[Any], inputs: Arrays, until: float) -> Reply:
        request = predict_request(self.address, call, inputs)
        method = self._predictions.Predict
        ask = self._once if self._hedger is None else self._hedged
        response = await self.retry_policy.call_async(
            lambda seconds_left: ask(method, request, seconds_left), until
        )
        return reply_of(call, response)

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
        return await self._answer(lambda: method(request, timeout=seconds_left))

    async def _hedged(
        self, method: grpc.aio.UnaryUnaryMultiCallable, request: Any, seconds_left: float
    ) -> Any:
        hedger = self._hedger
        assert hedger is not None
        return await self._answer(
            lambda: hedger.first_answer_async(
                lambda seconds: method(request, timeout=seconds), seconds_left
            )
        )

    async def _answer(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call()
        except grpc.RpcError as error:
            raise explained(error, self.address, self.retry_policy.timeout_seconds) from error
        except grpc.aio.UsageError as error:
            raise closed(str(error), self.address) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # A channel that is closed meanwhile cancels its calls, and nobody the task.
            raise closed("its channel was closed", self.address) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
