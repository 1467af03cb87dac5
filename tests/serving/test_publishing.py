from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from configs.files import alone_in
from configs.loading import ConfigurationError
from configs.serving import Serving
from serving.publishing import (
    check_number_of_requests,
    next_version,
    version_folders,
    write_warmup_requests,
)
from tests.serving.exports import Export, exported_variant


def test_versions_are_the_folders_whose_names_are_numbers(tmp_path: Path) -> None:
    for name in ("2", "10", ".11.unfinished", "notes", "-3", "\u0663", "9" * 30):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file")
    assert version_folders(tmp_path) == {10: tmp_path / "10", 2: tmp_path / "2"}
    assert list(version_folders(tmp_path)) == [10, 2]


def test_a_base_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        version_folders(tmp_path / "nowhere")


def names(base: Path) -> set[str]:
    return {path.name for path in base.iterdir()}


def test_versions_appear_whole_and_count_up(tmp_path: Path) -> None:
    base = tmp_path / "new" / "base"
    with alone_in(base):
        for number in (1, 2):
            with next_version(base) as version:
                assert (version.number, version.path) == (number, base / str(number))
                version.unfinished.mkdir()
                (version.unfinished / "file").write_text(str(number))
                assert not version.path.exists()
            assert (base / str(number) / "file").read_text() == str(number)
    assert names(base) == {".lock", "1", "2"}


def test_what_a_killed_or_failed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".1.unfinished").mkdir()
    (tmp_path / ".1.unfinished" / "leftover").write_text("of a killed export")
    with pytest.raises(OSError, match="disk full"), next_version(tmp_path) as version:
        assert not version.unfinished.exists()
        version.unfinished.mkdir()
        raise OSError("disk full")
    assert not names(tmp_path)


ROWS = {"rank": "item_id", "item_vectors": "item_id"}
"""Signature -> the input that has a row for each of the batch; else it is the user."""


def requests_of(path: Path) -> list[predict_pb2.PredictRequest]:
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    assert all(log.WhichOneof("log_type") == "predict_log" for log in logs)
    return [log.predict_log.request for log in logs]


def found_requests(export: Export) -> list[predict_pb2.PredictRequest]:
    return requests_of(export.path / "assets.extra" / "tf_serving_warmup_requests")


def arrays(request: predict_pb2.PredictRequest) -> dict[str, np.ndarray]:
    return {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}


@pytest.mark.parametrize(
    ("name", "signatures"),
    [
        ("linear", ["rank", "serving_default"]),
        ("prm", ["rank", "serving_default"]),
        ("two_tower", ["item_vectors", "serving_default", "top_k", "user_vectors"]),
    ],
)
def test_there_is_a_request_of_every_size_and_signature(name: str, signatures: list[str]) -> None:
    actual = []
    for request in found_requests(exported_variant(name)):
        assert request.model_spec.name == "films"
        signature = request.model_spec.signature_name
        actual.append((signature, len(arrays(request)[ROWS.get(signature, "user_id")])))
    assert sorted(actual) == sorted(
        (signature, size) for signature in signatures for size in Serving().batch_sizes
    )


@pytest.mark.parametrize("name", ["linear", "prm", "two_tower"])
def test_every_request_runs_on_the_model(name: str) -> None:
    export = exported_variant(name)
    for request in found_requests(export):
        signature = request.model_spec.signature_name
        for output, values in export.outputs(arrays(request), signature).items():
            if output != "item_id":
                assert np.isfinite(values).all()
                # Everybody and everything in a request is the same nobody and nothing.
                np.testing.assert_allclose(values, values[:1].repeat(len(values), 0), rtol=1e-4)


def test_requests_hold_no_ids() -> None:
    for request in found_requests(exported_variant("linear")):
        for name, values in arrays(request).items():
            assert not values.any(), name


def test_lists_have_a_usual_length(tmp_path: Path) -> None:
    inputs = {
        "history_item_id": tf.TensorSpec([1, None], tf.string),
        "profile_age": tf.TensorSpec([1, None], tf.float32),
        "item_id": tf.TensorSpec([None, None], tf.string),
    }
    path = write_warmup_requests(tmp_path, Serving(batch_sizes=(7, 2)), {"rank": inputs})
    shapes = [{name: a.shape for name, a in arrays(each).items()} for each in requests_of(path)]
    assert shapes == [
        {"history_item_id": (1, 30), "profile_age": (1, 1), "item_id": (rows, 10)}
        for rows in (2, 7)
    ]


def test_the_file_is_beside_the_model_and_named_as_tensorflow_serving_wants_it(
    tmp_path: Path,
) -> None:
    inputs = {"item_id": tf.TensorSpec([None], tf.string)}
    path = write_warmup_requests(tmp_path / "1", Serving(model_name="other"), {"rank": inputs})
    assert path == tmp_path / "1" / "assets.extra" / "tf_serving_warmup_requests"
    assert {request.model_spec.name for request in requests_of(path)} == {"other"}


def test_whole_number_ids_are_nobodys(tmp_path: Path) -> None:
    inputs = {"item_id": tf.TensorSpec([None], tf.int64)}
    path = write_warmup_requests(tmp_path, Serving(batch_sizes=(3,)), {"rank": inputs})
    (request,) = requests_of(path)
    np.testing.assert_array_equal(arrays(request)["item_id"], [-1, -1, -1])
    assert arrays(request)["item_id"].dtype == np.int64


def test_more_requests_than_tensorflow_serving_takes_are_refused() -> None:
    serving = Serving(batch_sizes=tuple(range(1, 502)))
    with pytest.raises(ConfigurationError, match="501 sizes for 2 signatures make 1002 warm-up"):
        check_number_of_requests(serving, "ctr")
    with pytest.raises(ConfigurationError, match="251 sizes for 4 signatures make 1004 warm-up"):
        check_number_of_requests(Serving(batch_sizes=tuple(range(1, 252))), "retrieval")
    check_number_of_requests(Serving(batch_sizes=tuple(range(1, 501))), "rerank")


def test_warm_up_requests_are_not_larger_than_the_largest_request() -> None:
    assert Serving(batch_sizes=(1, 120), largest_request=1200).largest_request == 1200
    with pytest.raises(ValueError, match="largest_request: must be at least 1210"):
        Serving(batch_sizes=(1, 121), largest_request=1200)
    with pytest.raises(ValueError, match="greater than or equal to 1000"):
        Serving(largest_request=999)
