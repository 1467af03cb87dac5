"""The examples of TensorFlow Serving's REST guide, compared as whole JSON documents."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests

from serving.options import ServerOptions
from serving.server import LocalServer
from serving.server.server_files import ModelSettings
from tests.serving.guide_models import guide_base_paths
from tests.waiting import LONGEST_SECONDS as SECONDS

OK = {"error_code": "OK", "error_message": ""}
AVAILABLE = {
    "model_version_status": [{"version": "123", "state": "AVAILABLE", "status": OK}],
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    models = [
        ModelSettings(name, path, labels={"stable": 123} if name == "half_plus_three" else {})
        for name, path in guide_base_paths().items()
    ]
    options = ServerOptions(poll_seconds=0, allow_version_labels_for_unavailable_models=True)
    with LocalServer(models, options=options) as server:
        yield f"http://127.0.0.1:{server.rest_port}/v1/models/"


def post(url: str, body: str | bytes, status: int = 200, **headers: str) -> Any:
    # As curl -d does, the requests of the guide are sent as a form.
    headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    response = requests.post(url, data=body, headers=headers, timeout=SECONDS)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def guide(address: str, signature_name: str, text: str) -> Any:
    """Sends a JSON object, written without its signature name, to the model with many of them."""
    fields = text.strip().removeprefix("{")
    return post(f"{address}guide:predict", f'{{"signature_name": "{signature_name}", {fields}')


@pytest.mark.parametrize(
    "path", ["half_plus_three", "half_plus_three/versions/123", "half_plus_three/labels/stable"]
)
def test_status(address: str, path: str) -> None:
    response = requests.get(address + path, timeout=SECONDS)
    assert response.headers["content-type"] == "application/json"
    assert response.json() == AVAILABLE


@pytest.mark.parametrize("version", ["", "/versions/123", "/versions/00000123", "/labels/stable"])
def test_predict_by_row(address: str, version: str) -> None:
    url = f"{address}half_plus_three{version}:predict"
    answer = {"predictions": [3.5, 4.0, 5.5]}
    assert post(url, '{"instances": [1.0,2.0,5.0]}') == answer
    assert post(url, '{"instances": [{"x": 1.0}, {"x": 2.0}, {"x": 5.0}]}') == answer


def test_predict_of_half_plus_two(address: str) -> None:
    url = f"{address}half_plus_two:predict"
    assert post(url, '{"instances": [1.0, 2.0, 5.0]}') == {"predictions": [2.5, 3.0, 4.5]}
    assert post(url, '{"instances": [[1.0, 2.0], [3.0, 4.0]]}') == {
        "predictions": [[2.5, 3.0], [3.5, 4.0]]
    }
    # Whole numbers may be written without a point; the answers always have one.
    response = requests.post(url, data='{"instances": [2]}', timeout=SECONDS)
    assert json.loads(response.text, parse_float=str) == {"predictions": ["3.0"]}


def test_predict_by_column(address: str) -> None:
    url = f"{address}half_plus_three:predict"
    assert post(url, '{"inputs": [1.0, 2.0]}') == {"outputs": [3.5, 4.0]}
    assert post(url, '{"inputs": {"x": [[1.0], [2.0]]}}') == {"outputs": [[3.5], [4.0]]}
    assert post(url, '{"inputs": 1.0}') == {"outputs": 3.5}


def test_regress_and_classify(address: str) -> None:
    examples = '"examples": [{"x": 1.0}, {"x": [2.0]}]'
    body = f'{{"signature_name": "tensorflow/serving/regress", {examples}}}'
    assert post(f"{address}half_plus_three:regress", body) == {"results": [3.5, 4.0]}
    body = f'{{"signature_name": "classify_x_to_y", {examples}}}'
    answer = {"results": [[["", 3.5]], [["", 4.0]]]}
    assert post(f"{address}half_plus_three:classify", body) == answer
    with_context = '{"signature_name": "regress_x_to_y2", "context": {"x": 4}, "examples": [{}]}'
    refused = post(f"{address}half_plus_three:regress", with_context, 400)["error"]
    assert "Data types don't match" in refused
    with_context = with_context.replace("4}", "4.0}")
    assert post(f"{address}half_plus_three:regress", with_context) == {"results": [6.0]}


def test_an_unknown_model(address: str) -> None:
    response = requests.post(
        f"{address}half:predict", data='{"instances": [1.0,5.0]}', timeout=SECONDS
    )
    assert response.status_code == 404
    assert response.json() == {"error": "Servable not found for request: Latest(half)"}


def test_several_named_inputs(address: str) -> None:
    rows = """{"instances": [
        {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
        {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]}
    ]}"""
    assert guide(address, "sensors", rows) == {
        "predictions": [
            {"tag": "FOO", "signal": 15, "sensor": [[1.0, 3.0], [2.0, 4.0]]},
            {"tag": "BAR", "signal": 15, "sensor": [[4.0, 6.0], [5.0, 8.0]]},
        ]
    }
    columns = """{"inputs": {
        "tag": ["foo", "bar"],
        "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
        "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]
    }}"""
    assert guide(address, "sensors", columns) == {
        "outputs": {
            "tag": ["FOO", "BAR"],
            "signal": [15, 15],
            "sensor": [[[1.0, 3.0], [2.0, 4.0]], [[4.0, 6.0], [5.0, 8.0]]],
        }
    }
    # A name that the signature does not have is passed over in this format.
    more = columns.replace('"tag"', '"unknown": 7, "tag"')
    assert guide(address, "sensors", more) == guide(address, "sensors", columns)


def test_one_input_of_strings_or_lists(address: str) -> None:
    assert guide(address, "texts", '{"instances": [ "foo", "bar", "baz" ]}') == {
        "predictions": ["foo", "bar", "baz"]
    }
    assert guide(address, "pairs", '{"instances": [ [[1, 2]], [[3, 4]] ]}') == {
        "predictions": [[[2, 4]], [[6, 8]]]
    }


def test_bytes(address: str) -> None:
    images = '[{"b64": "aW1hZ2UgYnl0ZXM="}, {"b64": "YXdlc29tZSBpbWFnZSBieXRlcw"}]'
    padded = [{"b64": "aW1hZ2UgYnl0ZXM="}, {"b64": "YXdlc29tZSBpbWFnZSBieXRlcw=="}]
    assert guide(address, "images", f'{{"instances": {images}}}') == {
        "predictions": [
            {"image_bytes": padded[0], "size": len("image bytes")},
            {"image_bytes": padded[1], "size": len("awesome image bytes")},
        ]
    }
    assert guide(address, "texts", f'{{"inputs": {images}}}') == {
        "outputs": ["image bytes", "awesome image bytes"]
    }


def test_classification_of_bytes(address: str) -> None:
    body = """{
        "signature_name": "classify_objects",
        "examples": [
            {"image": {"b64": "aW1hZ2UgYnl0ZXM="}, "caption": "seaside"},
            {"image": {"b64": "YXdlc29tZSBpbWFnZSBieXRlcw=="}, "caption": "mountains"}
        ]
    }"""
    assert post(f"{address}guide:classify", body) == {
        "results": [
            [["seaside", 11.0], ["nothing", 0.0]],
            [["mountains", 19.0], ["nothing", 0.0]],
        ]
    }


def test_numbers_that_json_does_not_have(address: str) -> None:
    body = '{"signature_name": "readings", "instances": [1.0, -3.14, NaN, Infinity, -Infinity]}'
    response = requests.post(f"{address}guide:predict", data=body, timeout=SECONDS)
    numbers = response.text.partition("[")[2].partition("]")[0]
    assert numbers.replace(" ", "") == "1.0,-3.14,NaN,Infinity,-Infinity"
    answer = response.json()["predictions"]
    assert math.isnan(answer[2])
    assert answer[3:] == [math.inf, -math.inf]


def test_floats_round_silently(address: str) -> None:
    answer = guide(address, "readings", '{"instances": [1435774380, 16777217]}')
    # 1435774336 and 16777216, with the nine digits that tell floats apart.
    assert answer == {"predictions": [1435774340.0, 16777216.0]}
    assert [np.float32(one) for one in answer["predictions"]] == [1435774336, 16777216]


def test_other_types(address: str) -> None:
    rows = '{"instances": [{"flag": true, "double": 1}, {"flag": false, "double": 1e-3}]}'
    assert guide(address, "other_types", rows) == {
        "predictions": [
            {"flag": False, "double": 1 / 3},
            {"flag": True, "double": 1e-3 / 3},
        ]
    }


def test_integers_keep_every_digit(address: str) -> None:
    user, item = 2**53 + 1, -(2**63)
    rows = f'{{"instances": [{{"user_id": {user}, "item_id": {item}}}]}}'
    assert guide(address, "ids", rows) == {"predictions": [{"user_id": user, "item_id": item}]}
    columns = f'{{"inputs": {{"user_id": [{2**63 - 1}], "item_id": [{user}]}}}}'
    assert guide(address, "ids", columns) == {
        "outputs": {"user_id": [2**63 - 1], "item_id": [user]}
    }


def described(name: str, data_type: str, *sizes: str) -> dict[str, Any]:
    dimensions = [{"size": size, "name": ""} for size in sizes]
    shape = {"dim": dimensions, "unknown_rank": False}
    return {"dtype": data_type, "tensor_shape": shape, "name": f"{name}:0"}


def signature(inputs: dict, outputs: dict, verb: str) -> dict[str, Any]:
    method_name = f"tensorflow/serving/{verb}"
    return {"inputs": inputs, "outputs": outputs, "method_name": method_name, "defaults": {}}


def test_metadata(address: str) -> None:
    """As in TensorFlow Serving's testdata/saved_model_half_plus_two_2_versions_metadata.json."""
    example = {"inputs": described("tf_example", "DT_STRING", "-1")}
    x2 = {"inputs": described("x2", "DT_FLOAT", "-1", "1")}
    x, y, y2, y3 = (described(name, "DT_FLOAT", "-1", "1") for name in ("x", "y", "y2", "y3"))
    expected = {
        "model_spec": {"name": "half_plus_two", "signature_name": "", "version": "123"},
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": signature({"x": x}, {"y": y}, "predict"),
                    "tensorflow/serving/regress": signature(example, {"outputs": y}, "regress"),
                    "regress_x_to_y": signature(example, {"outputs": y}, "regress"),
                    "regress_x_to_y2": signature(example, {"outputs": y2}, "regress"),
                    "regress_x2_to_y3": signature(x2, {"outputs": y3}, "regress"),
                    "classify_x_to_y": signature(example, {"scores": y}, "classify"),
                    "classify_x2_to_y3": signature(x2, {"scores": y3}, "classify"),
                }
            }
        },
    }
    for path in ("half_plus_two/metadata", "half_plus_two/versions/123/metadata"):
        assert requests.get(address + path, timeout=SECONDS).json() == expected


def test_metadata_of_a_model_of_tensorflow_2(address: str) -> None:
    metadata = requests.get(f"{address}guide/metadata", timeout=SECONDS).json()
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["texts"]["method_name"] == "tensorflow/serving/predict"
    nothing = {"dim": [], "unknown_rank": True}
    assert signatures["__saved_model_init_op"] == {
        "inputs": {},
        "outputs": {
            "__saved_model_init_op": {
                "dtype": "DT_INVALID",
                "tensor_shape": nothing,
                "name": "NoOp",
            }
        },
        "method_name": "",
        "defaults": {},
    }
