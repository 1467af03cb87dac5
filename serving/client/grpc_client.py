"""The gRPC client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import grpc

from serving.client.errors import RankingError, ServerUnavailable
from serving.client.ranking import Arrays, RankingClientBase, unusable_answer
from serving.client.retries import RetryPolicy
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

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    # The retries set the pace; a channel left alone would wait up to two minutes to connect again.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
Request = TypeVar("Request")
Response = TypeVar("Response")


class RankingClient(RankingClientBase):
    """Ranks over gRPC; one channel is kept open and shared by all calls.

    Attributes:
      target: `host:port` of TensorFlow Serving or the local server.
      model_name: the model's name there.
      model_version: the version to ask for; the latest if None.
      retry_policy: deadline and retries of each call.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        timeout_seconds: float = 2.0,
        maximum_attempts: int = 5,
        model_version: int | None = None,
    ):
        super().__init__()
        self.target = target
        self.model_name = model_name
        self.model_version = model_version
        self.retry_policy = RetryPolicy(timeout_seconds, maximum_attempts)
        self._channel = grpc.insecure_channel(target, options=_CHANNEL_OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def served_version(self) -> int:
        """The model's version that is available on the server; the highest of several."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=self._specification(""))
        response = self._call(self._models.GetModelStatus, request)
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        versions = [
            status.version for status in response.model_version_status if status.state == available
        ]
        if not versions:
            raise RankingError("NOT_FOUND", f"model '{self.model_name}' has no available version")
        return max(versions)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _predict(
        self, signature_name: str, inputs: Arrays, outputs: Sequence[str], others: bool = False
    ) -> Arrays:
        request = predict_pb2.PredictRequest(
            model_spec=self._specification(signature_name),
            output_filter=[] if others else outputs,
        )
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(pack(array))
        response = self._call(self._predictions.Predict, request)
        for name in outputs:
            if name not in response.outputs:
                raise unusable_answer(f"it has no output '{name}'")
        try:
            return {name: unpack(tensor) for name, tensor in response.outputs.items()}
        except TensorFormatError as error:
            raise unusable_answer(str(error)) from error

    def _string_inputs(self, signature_name: str) -> Mapping[str, bool]:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._specification(""), metadata_field=["signature_def"]
        )
        response = self._call(self._predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        if signature_name not in signatures.signature_def:
            raise unusable_answer(f"the model has no signature '{signature_name}'")
        return {
            name: tensor.dtype == types_pb2.DT_STRING
            for name, tensor in signatures.signature_def[signature_name].inputs.items()
        }

    def _specification(self, signature_name: str) -> model_pb2.ModelSpec:
        specification = model_pb2.ModelSpec(name=self.model_name, signature_name=signature_name)
        if self.model_version is not None:
            specification.version.value = self.model_version
        return specification

    def _call(self, method: Callable[..., Response], request: Request) -> Response:
        def attempt(seconds_left: float) -> Response:
            try:
                return method(request, timeout=seconds_left)
            except grpc.RpcError as error:
                raise self._explained(error) from error

        return self.retry_policy.call(attempt)

    def _explained(self, error: grpc.RpcError) -> RankingError:
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServerUnavailable(f"no server answers at {self.target} ({error.details()})")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            seconds = self.retry_policy.timeout_seconds
            return RankingError(code.name, f"{self.target} did not answer within {seconds:g} s")
        return RankingError(code.name, f"{self.target} refused the request: {error.details()}")
