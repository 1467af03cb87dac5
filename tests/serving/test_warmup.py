from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from serving.warmup import WARMUP_BATCH_SIZES, write_warmup_requests
from tests.serving.exports import exported


def requests_of(path: Path) -> list[predict_pb2.PredictRequest]:
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    assert all(log.WhichOneof("log_type") == "predict_log" for log in logs)
    return [log.predict_log.request for log in logs]


def exported_requests(backbone: str = "din", arm: str = "ridge") -> list:
    return requests_of(exported(backbone, arm).path / "assets.extra" / "tf_serving_warmup_requests")


def arrays(request: predict_pb2.PredictRequest) -> dict[str, np.ndarray]:
    return {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}


def test_there_is_a_request_of_every_size_and_signature() -> None:
    found = [
        (
            request.model_spec.name,
            request.model_spec.signature_name,
            len(arrays(request)["item_id"]),
        )
        for request in exported_requests()
    ]
    assert sorted(found) == sorted(
        ("films", signature, size)
        for signature in ("rank", "serving_default")
        for size in WARMUP_BATCH_SIZES
    )
    assert {1, 100} <= set(WARMUP_BATCH_SIZES)


@pytest.mark.parametrize(("backbone", "arm"), [("din", "ridge"), ("dcnv2", "hein")])
def test_every_request_runs_on_the_model(backbone: str, arm: str) -> None:
    export = exported(backbone, arm)
    for request in exported_requests(backbone, arm):
        inputs = arrays(request)
        scores = export.scores(inputs, request.model_spec.signature_name)
        assert scores.shape == inputs["item_id"].shape
        assert ((scores > 0) & (scores < 1)).all()
        np.testing.assert_allclose(scores, scores[0], rtol=1e-5)


def test_requests_hold_no_ids() -> None:
    for request in exported_requests():
        for name, values in arrays(request).items():
            assert not values.any(), name


def test_the_file_is_beside_the_model_and_named_as_tensorflow_serving_wants_it(
    tmp_path: Path,
) -> None:
    path = write_warmup_requests(tmp_path / "1", "other")
    assert path == tmp_path / "1" / "assets.extra" / "tf_serving_warmup_requests"
    assert {request.model_spec.name for request in requests_of(path)} == {"other"}
