from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.options import ServerOptions
from serving.server import LocalServer
from serving.server.background import Background
from serving.server.grpc_services import (
    Health,
    PredictionService,
    RefusalWhileStopping,
    create_grpc_server,
)
from serving.server.metrics import metrics_text
from serving.server.model_store import ModelStore
from serving.server.prediction_api import PredictionApi
from tests.serving.toy_ranker import (
    toy_arrays,
    toy_base_path,
    toy_examples,
    toy_row_scores,
    toy_rows,
)
from tests.waiting import LONGEST_SECONDS as SECONDS

OPTIONS = ServerOptions(max_grpc_request_bytes=100_000)


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    with LocalServer({"toy": toy_base_path()}, options=OPTIONS) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def predict_request(
    arrays: dict[str, np.ndarray], signature_name: str = "", model: str = "toy", **choice: object
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(
        model_spec={"name": model, "signature_name": signature_name, **choice}
    )
    for name, array in arrays.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return request


def test_predict_agrees_with_numpy(stub) -> None:
    response = stub.Predict(predict_request(toy_arrays()), SECONDS)
    scores = tf.make_ndarray(response.outputs["score"])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, toy_row_scores(), rtol=1e-6)


def test_rank_agrees_with_rows(stub) -> None:
    rows = toy_rows()
    one_user = {name: values[:1] for name, values in rows.items()}
    arrays = toy_arrays(one_user) | {"item_id": np.array(["a", "bb", "ccc"], dtype=object)}
    response = stub.Predict(predict_request(arrays, "rank", version={"value": 3}), SECONDS)
    ranked = tf.make_ndarray(response.outputs["score"])
    assert ranked.shape == (3,)
    np.testing.assert_allclose(ranked[0], toy_row_scores()[0], rtol=1e-6)


def test_classify_regress_and_multi_inference(stub) -> None:
    examples = {"example_list": {"examples": toy_examples()}}
    classified = stub.Classify(
        classification_pb2.ClassificationRequest(
            model_spec={"name": "toy", "signature_name": "classify"}, input=examples
        ),
        SECONDS,
    )
    scores = [row.classes[0].score for row in classified.result.classifications]
    np.testing.assert_allclose(scores, toy_row_scores(), rtol=1e-6)
    regressed = stub.Regress(
        regression_pb2.RegressionRequest(
            model_spec={"name": "toy", "signature_name": "regress"}, input=examples
        ),
        SECONDS,
    )
    values = [regression.value for regression in regressed.result.regressions]
    np.testing.assert_allclose(values, toy_row_scores(), rtol=1e-6)
    several = stub.MultiInference(
        inference_pb2.MultiInferenceRequest(
            tasks=[
                {
                    "model_spec": {"name": "toy", "signature_name": "regress"},
                    "method_name": "tensorflow/serving/regress",
                }
            ],
            input=examples,
        ),
        SECONDS,
    )
    assert several.results[0].regression_result == regressed.result


def test_metadata_and_status(channel: grpc.Channel, stub) -> None:
    metadata = stub.GetModelMetadata(
        get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec={"name": "toy"}, metadata_field=["signature_def"]
        ),
        SECONDS,
    )
    assert metadata.model_spec.version.value == 3
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    status = models.GetModelStatus(
        get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "toy"}), SECONDS
    )
    assert [one.version for one in status.model_version_status] == [3]


def reload_request(base_path: object) -> model_management_pb2.ReloadConfigRequest:
    model = {"name": "toy", "base_path": str(base_path), "model_platform": "tensorflow"}
    return model_management_pb2.ReloadConfigRequest(
        config={
            "model_config_list": {"config": [model | {"version_labels": {"stable": 3}}]},
        }
    )


def test_reloading_gives_labels_and_refuses_in_tensorflow_servings_way(
    channel: grpc.Channel, stub
) -> None:
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    response = models.HandleReloadConfigRequest(reload_request(toy_base_path()), SECONDS)
    assert response.status.error_code == 0
    labelled = stub.Predict(predict_request(GOOD, version_label="stable"), SECONDS)
    assert labelled.model_spec.version.value == 3
    for request, reason in (
        (reload_request("elsewhere"), "base path"),
        (model_management_pb2.ReloadConfigRequest(), "model_config_list"),
        (reload_request("a\0b"), "base_path is no path"),
        (reload_request("/" + "a" * 300), "base_path is too long"),
        (reload_request("/a" * 3000), "base_path is too long"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            models.HandleReloadConfigRequest(request, SECONDS)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason in caught.value.details()
    # Nothing has changed.
    assert stub.Predict(predict_request(GOOD, version_label="stable"), SECONDS) == labelled


def test_requests_are_counted_by_model_and_status(stub) -> None:
    with pytest.raises(grpc.RpcError):
        stub.Predict(predict_request(GOOD, model="nobody"), SECONDS)
    stub.Predict(predict_request(GOOD), SECONDS)
    text = metrics_text().decode()
    assert 'request_count{model_name="unknown model",status="NOT_FOUND"}' in text
    assert "nobody" not in text
    assert 'request_latency_count{API="Predict",entrypoint="GRPC",model_name="toy"}' in text


GOOD = toy_arrays()
WITHOUT_ITEM = {name: array for name, array in GOOD.items() if name != "item_id"}


@pytest.mark.parametrize(
    ("request_message", "code", "reason"),
    [
        (predict_request(GOOD, model="other"), "NOT_FOUND", "Latest(other)"),
        (predict_request(GOOD, version_label="canary"), "INVALID_ARGUMENT", "label: canary"),
        (
            predict_request(GOOD, "guess"),
            "FAILED_PRECONDITION",
            'Serving signature key "guess" not found.',
        ),
        (
            predict_request(GOOD | {"user_log_count": np.arange(3)}),
            "INVALID_ARGUMENT",
            "to be float but int64 is provided",
        ),
        (
            predict_request(GOOD | {"history_rating": np.float32([1, 2, 3])}),
            "INVALID_ARGUMENT",
            "Incompatible shapes",
        ),
        (predict_request(WITHOUT_ITEM), "INVALID_ARGUMENT", "Missing but required: {item_id}"),
        (predict_request(GOOD | {"age": np.float32([1])}), "INVALID_ARGUMENT", "extra: {age}"),
        (
            predict_request(GOOD | {"item_id": np.array(["x" * 200_000])}),
            "RESOURCE_EXHAUSTED",
            "larger",
        ),
    ],
)
def test_errors_have_their_status(
    stub, request_message: predict_pb2.PredictRequest, code: str, reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request_message, SECONDS)
    assert caught.value.code().name == code
    assert reason in caught.value.details()


def test_a_long_message_is_cut(stub) -> None:
    request = predict_request({"x" * 5000: np.float32([1])})
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request, SECONDS)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(caught.value.details()) == 1024 + len("...TRUNCATED")
    assert caught.value.details().endswith("x...TRUNCATED")


def test_concurrent_requests_get_their_own_answers(stub) -> None:
    def doubled(number: int) -> list[list[int]]:
        arrays = {"text_bytes": np.array([str(number)]), "numbers": np.array([[number, 0]])}
        response = stub.Predict(predict_request(arrays, "echo"), SECONDS)
        assert tf.make_ndarray(response.outputs["text_bytes"]) == [str(number).encode()]
        return tf.make_ndarray(response.outputs["doubled"]).tolist()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(doubled, range(100)))
    assert answers == [[[2 * number, 0]] for number in range(100)]


def test_a_fault_of_the_server_is_reported_as_internal() -> None:
    class Faulty(PredictionApi):
        def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
            raise ZeroDivisionError("by design")

    server = create_grpc_server(Faulty(ModelStore([]), Background()), 1000)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(predict_pb2.PredictRequest(), SECONDS)
    finally:
        server.stop(0).wait()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "ZeroDivisionError: by design" in caught.value.details()


def test_every_operation_of_the_service_is_there() -> None:
    service = prediction_service_pb2_grpc.PredictionServiceServicer
    operations = {name for name in vars(service) if not name.startswith("_")}
    assert operations <= vars(PredictionService).keys()


SERVICES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")


def test_health_follows_the_models_and_ends_with_the_server() -> None:
    health = Health()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    health.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)

            def statuses() -> set[int]:
                requests = [health_pb2.HealthCheckRequest(service=name) for name in SERVICES]
                return {stub.Check(request, timeout=SECONDS).status for request in requests}

            serving = {health_pb2.HealthCheckResponse.SERVING}
            not_serving = {health_pb2.HealthCheckResponse.NOT_SERVING}
            assert statuses() == not_serving
            health.set_ready(True)
            assert statuses() == serving
            health.set_ready(False)
            assert statuses() == not_serving
            health.set_ready(True)
            health.stop()
            health.set_ready(True)
            assert statuses() == not_serving
            with pytest.raises(grpc.RpcError) as caught:
                stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=SECONDS)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    finally:
        server.stop(0).wait()


class Service(model_service_pb2_grpc.ModelServiceServicer):
    def GetModelStatus(self, request, context):  # noqa: N802
        return get_model_status_pb2.GetModelStatusResponse()


def test_requests_are_refused_from_the_beginning_of_the_stop_and_health_is_told() -> None:
    refusal = RefusalWhileStopping()
    server = grpc.server(futures.ThreadPoolExecutor(2), interceptors=[refusal])
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Service(), server)
    Health().add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            request = get_model_status_pb2.GetModelStatusRequest()
            assert stub.GetModelStatus(request, timeout=SECONDS) == Service().GetModelStatus(
                None, None
            )
            refusal.begin()
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetModelStatus(request, timeout=SECONDS)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert caught.value.details() == "The server is stopping"
            health = health_pb2_grpc.HealthStub(channel)
            told = health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
            assert told.status == health_pb2.HealthCheckResponse.NOT_SERVING
    finally:
        server.stop(0).wait()
