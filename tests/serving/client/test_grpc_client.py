from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client import RankingClient, RankingError, ServerUnavailable, UserRequest

USER = UserRequest("u", ["a"], [4.0], 1.0, 4.0, 0.7)


class Answering(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with whatever tensors it was given."""

    def __init__(self) -> None:
        self.outputs: dict[str, tf.Tensor] = {}
        self.requests: list[predict_pb2.PredictRequest] = []
        self.seconds_left: list[float] = []
        self.delay_seconds = 0.0
        self.failures: list[grpc.StatusCode] = []
        self.profile: dict[str, int] = {}

    def GetModelMetadata(self, request, context):  # noqa: N802
        assert list(request.metadata_field) == ["signature_def"]
        signatures = get_model_metadata_pb2.SignatureDefMap()
        inputs = signatures.signature_def["rank"].inputs
        for name, data_type in {"user_id": types_pb2.DT_STRING, **self.profile}.items():
            inputs[name].dtype = data_type
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(signatures)
        return response

    def Predict(self, request, context):  # noqa: N802
        self.requests.append(request)
        self.seconds_left.append(context.time_remaining())
        time.sleep(self.delay_seconds)
        if self.failures:
            context.abort(self.failures.pop(0), "by design")
        response = predict_pb2.PredictResponse()
        for name, value in self.outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


class NothingAvailable(model_service_pb2_grpc.ModelServiceServicer):
    def GetModelStatus(self, request, context):  # noqa: N802
        state = get_model_status_pb2.ModelVersionStatus.LOADING
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=[{"version": 1, "state": state}]
        )


def start(service: Answering, port: int = 0) -> tuple[grpc.Server, int]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(NothingAvailable(), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


@pytest.fixture
def service() -> Answering:
    return Answering()


@pytest.fixture
def port(service: Answering) -> Iterator[int]:
    server, port = start(service)
    yield port
    server.stop(0).wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_request_is_what_tensorflow_reads(service: Answering, port: int) -> None:
    service.outputs = {"score": np.float32([0.5, 0.25])}
    with RankingClient(f"127.0.0.1:{port}", "m", timeout_seconds=30) as client:
        assert client.rank(USER, ["x", "ü"]).tolist() == [0.5, 0.25]
    (request,) = service.requests
    assert (request.model_spec.name, request.model_spec.signature_name) == ("m", "rank")
    assert not request.model_spec.HasField("version")
    assert tf.make_ndarray(request.inputs["item_id"]).tolist() == [b"x", "ü".encode()]
    history = tf.make_ndarray(request.inputs["history_rating"])
    assert history.dtype == np.float32
    assert history.tolist() == [[4.0]]
    assert 0 < service.seconds_left[0] <= 30


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({}, "no output 'score'"),
        ({"other": np.float32([0.5, 0.5])}, "no output 'score'"),
        ({"score": np.float32([0.5])}, r"shape \(1,\), not \(2,\)"),
        ({"score": np.float32([[0.5], [0.5]])}, r"shape \(2, 1\)"),
        ({"score": np.float64([0.5, 0.5])}, "float64"),
        ({"score": np.float32([0.5, np.nan])}, "not finite"),
        ({"score": np.array(["a", "b"])}, "not float32"),
    ],
)
def test_an_unusable_answer_is_an_error(
    service: Answering, port: int, outputs: dict[str, np.ndarray], reason: str
) -> None:
    service.outputs = outputs
    with RankingClient(f"127.0.0.1:{port}", "m", timeout_seconds=30) as client:
        with pytest.raises(RankingError, match=reason):
            client.rank(USER, ["x", "y"])


def test_unavailable_is_tried_again_and_nothing_else(service: Answering, port: int) -> None:
    service.outputs = {"score": np.float32([0.5])}
    service.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    with RankingClient(f"127.0.0.1:{port}", "m", timeout_seconds=30) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.5]
        assert len(service.requests) == 3
        service.failures = [grpc.StatusCode.INVALID_ARGUMENT]
        with pytest.raises(RankingError, match="by design") as caught:
            client.rank(USER, ["x"])
    assert caught.value.code == "INVALID_ARGUMENT"
    assert len(service.requests) == 4


def test_what_the_model_reads_of_a_profile_is_learned_when_it_refuses(
    service: Answering, port: int
) -> None:
    service.outputs = {"score": np.float32([0.5])}
    service.failures = [grpc.StatusCode.INVALID_ARGUMENT]
    service.profile = {"profile_age": types_pb2.DT_FLOAT, "profile_city": types_pb2.DT_STRING}
    with RankingClient(f"127.0.0.1:{port}", "m", timeout_seconds=30) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.5]
        assert client.rank(USER, ["x"]).tolist() == [0.5]
    refused, *accepted = service.requests
    assert "profile_age" not in refused.inputs and len(accepted) == 2
    for request in accepted:
        age = tf.make_ndarray(request.inputs["profile_age"])
        assert age.shape == (1, 1) and np.isnan(age).all()
        assert tf.make_ndarray(request.inputs["profile_city"]).tolist() == [[b""]]


def test_retrieved_items_end_where_the_answer_is_empty(service: Answering, port: int) -> None:
    service.outputs = {
        "item_id": np.array([["ü", "b", ""]]),
        "score": np.float32([[0.5, -0.25, 0]]),
        "other": np.float32([1]),
    }
    with RankingClient(f"127.0.0.1:{port}", "m", timeout_seconds=30) as client:
        found = client.retrieve(USER)
    assert found.item_ids == ["ü", "b"]
    assert found.scores.tolist() == [0.5, -0.25]
    (request,) = service.requests
    assert request.model_spec.signature_name == "top_k"
    assert list(request.output_filter) == ["item_id", "score"]
    assert "item_id" not in request.inputs


def test_a_late_answer_is_an_error_with_the_deadline(service: Answering, port: int) -> None:
    service.delay_seconds = 1.0
    with RankingClient(f"127.0.0.1:{port}", "m", timeout_seconds=0.2) as client:
        with pytest.raises(RankingError, match=r"within 0\.2 s") as caught:
            client.rank(USER, ["x"])
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_a_server_that_comes_up_late_is_waited_for(service: Answering) -> None:
    service.outputs = {"score": np.float32([0.5])}
    port = free_port()
    servers: list[grpc.Server] = []
    late = threading.Timer(0.7, lambda: servers.append(start(service, port)[0]))
    late.start()
    try:
        with RankingClient(f"127.0.0.1:{port}", "m", 30, maximum_attempts=100) as client:
            assert client.rank(USER, ["x"]).tolist() == [0.5]
    finally:
        late.join()
        for server in servers:
            server.stop(0).wait()


def test_no_server_is_an_error_that_names_the_target() -> None:
    port = free_port()
    with RankingClient(f"127.0.0.1:{port}", "m", 5, maximum_attempts=2) as client:
        with pytest.raises(ServerUnavailable, match=f"no server answers at 127.0.0.1:{port}"):
            client.rank(USER, ["x"])


def test_a_model_that_is_still_loading_has_no_version(port: int) -> None:
    with RankingClient(f"127.0.0.1:{port}", "m", 30) as client:
        with pytest.raises(RankingError, match="no available version"):
            client.served_version()
