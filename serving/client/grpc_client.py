"""The gRPC client."""

from __future__ import annotations

from typing import Any

import grpc

from serving.client.address import ModelAddress
from serving.client.answers import Arrays, Reply
from serving.client.connection import Connection
from serving.client.grpc_messages import (
    available_version_of,
    described_version_of,
    explained,
    input_kinds_of,
    metadata_request,
    predict_request,
    reply_of,
    status_request,
)
from serving.client.hedging import HedgeBudget, Hedger, Hedging
from serving.client.model_inputs import InputKind
from serving.client.questions import Question
from serving.client.ranking import RankingClientBase
from serving.client.retries import RetryPolicy
from serving.protocol.messages import (
    get_model_metadata_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

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

    def _predict(self, question: Question[Any], inputs: Arrays, until: float) -> Reply:
        request = predict_request(self.address, question, inputs)
        method = self._predictions.Predict
        ask = self._once if self._hedger is None else self._hedged
        response = self.retry_policy.call(
            lambda seconds_left: ask(method, request, seconds_left), until
        )
        return reply_of(question, response)

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

    def _hedged(
        self, method: grpc.UnaryUnaryMultiCallable, request: Any, seconds_left: float
    ) -> Any:
        assert self._hedger is not None
        try:
            return self._hedger.first_answer(
                lambda seconds: method.future(request, timeout=seconds), seconds_left
            )
        except grpc.RpcError as error:
            raise explained(error, self.address, self.retry_policy.timeout_seconds) from error
