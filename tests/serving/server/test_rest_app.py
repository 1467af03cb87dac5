from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
import tensorflow as tf
from starlette.requests import Request

from serving.options import ServerOptions
from serving.protocol.messages import model_pb2
from serving.server import LocalServer
from serving.server.background import Background
from serving.server.errors import RequestError
from serving.server.model_store import ModelStore
from serving.server.prediction_api import PredictionApi
from serving.server.rest_app import (
    BodyTooLargeError,
    RestApi,
    examples_input,
    is_api,
    predict_inputs,
    read_body,
    signature_name_in,
    target_of,
)
from serving.server.servable import Servable
from serving.server.server_files import ModelSettings
from tests.serving.toy_ranker import (
    toy_arrays,
    toy_base_path,
    toy_examples,
    toy_row_scores,
    toy_rows,
)
from tests.waiting import LONGEST_SECONDS as SECONDS


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalServer({"toy": toy_base_path()}, options=ServerOptions(poll_seconds=0)) as server:
        yield f"http://127.0.0.1:{server.rest_port}"


def post(url: str, document: object) -> dict:
    response = requests.post(url, json=document, timeout=SECONDS)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def rows_as_instances() -> list[dict]:
    columns = toy_rows()
    return [{name: values[row] for name, values in columns.items()} for row in range(3)]


def test_row_and_column_format_agree_with_numpy(address: str) -> None:
    url = f"{address}/v1/models/toy:predict"
    by_row = post(url, {"instances": rows_as_instances()})
    by_column = post(url, {"inputs": toy_rows(), "signature_name": "serving_default"})
    assert by_row.keys() == {"predictions"}
    assert by_column.keys() == {"outputs"}
    assert by_row["predictions"] == by_column["outputs"]
    np.testing.assert_allclose(by_row["predictions"], toy_row_scores(), rtol=1e-6)


def test_rank_takes_the_column_format(address: str) -> None:
    inputs = {name: values[:1] for name, values in toy_rows().items()}
    inputs["item_id"] = ["a", "bb", "ccc"]
    answer = post(
        f"{address}/v1/models/toy/versions/3:predict", {"signature_name": "rank", "inputs": inputs}
    )
    assert len(answer["outputs"]) == 3
    np.testing.assert_allclose(answer["outputs"][0], toy_row_scores()[0], rtol=1e-6)


def test_base64_goes_in_and_out_and_several_outputs_are_named(address: str) -> None:
    encoded = {"b64": base64.b64encode(b"\xff\x00").decode()}
    url = f"{address}/v1/models/toy:predict"
    by_row = post(
        url,
        {"signature_name": "echo", "instances": [{"text_bytes": encoded, "numbers": [1, 2]}]},
    )
    assert by_row == {"predictions": [{"doubled": [2, 4], "text_bytes": encoded}]}
    by_column = post(
        url, {"signature_name": "echo", "inputs": {"text_bytes": [encoded], "numbers": [[1, 2]]}}
    )
    assert by_column == {"outputs": {"doubled": [[2, 4]], "text_bytes": [encoded]}}


def test_serialized_examples_score_like_tensors(address: str) -> None:
    instances = [
        {"b64": base64.b64encode(example.SerializeToString()).decode()}
        for example in toy_examples()
    ]
    answer = post(
        f"{address}/v1/models/toy:predict",
        {"signature_name": "predict_examples", "instances": instances},
    )
    np.testing.assert_allclose(answer["predictions"], toy_row_scores(), rtol=1e-6)


def test_classify_and_regress_with_a_common_context(address: str) -> None:
    examples = rows_as_instances()[:2]
    context = {"user_id": "u1"}
    for example in examples:
        del example["user_id"]
    document = {"context": context, "examples": examples}
    regressed = post(f"{address}/v1/models/toy:regress", {"signature_name": "regress", **document})
    classified = post(
        f"{address}/v1/models/toy:classify", {"signature_name": "classify_labelled", **document}
    )
    assert len(regressed["results"]) == 2
    np.testing.assert_allclose(regressed["results"][0], toy_row_scores()[0], rtol=1e-6)
    for (disliked, liked), score in zip(classified["results"], regressed["results"], strict=True):
        assert liked == ["liked", score]
        assert disliked[0] == "disliked"


def test_floats_are_exact(address: str) -> None:
    url = f"{address}/v1/models/toy:predict"
    numbers = post(url, {"inputs": toy_rows()})["outputs"]
    scores = Servable("toy", 3, toy_base_path() / "3").run("serving_default", toy_arrays())["score"]
    np.testing.assert_array_equal(np.float32(numbers), scores)


def test_gzip_goes_in(address: str) -> None:
    body = gzip.compress(json.dumps({"inputs": toy_rows()}).encode())
    response = requests.post(
        f"{address}/v1/models/toy:predict",
        data=body,
        headers={"Content-Encoding": "gzip"},
        timeout=SECONDS,
    )
    np.testing.assert_allclose(response.json()["outputs"], toy_row_scores(), rtol=1e-6)
    assert "content-encoding" not in response.headers


def test_requests_are_counted(address: str) -> None:
    def count(status: str) -> float:
        text = requests.get(f"{address}/monitoring/prometheus/metrics", timeout=SECONDS).text
        name = f':tensorflow:serving:request_count{{model_name="unknown model",status="{status}"}}'
        return float((re.search(rf"^{re.escape(name)} (\S+)$", text, re.M) or ["", 0])[1])

    before = count("NOT_FOUND")
    for model in ("other", "another"):
        url = f"{address}/v1/models/{model}:predict"
        requests.post(url, json={"instances": [1]}, timeout=SECONDS)
    assert count("NOT_FOUND") == before + 2
    assert count("OK") == 0


def test_a_caller_that_leaves_while_it_asks_is_no_error() -> None:
    sent = []

    async def receive() -> dict:
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    store = ModelStore([ModelSettings("toy", toy_base_path())])
    application = RestApi(PredictionApi(store, Background()), 1000).application()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/models/toy:predict",
        "raw_path": b"/v1/models/toy:predict",
        "query_string": b"",
        "headers": [],
    }
    asyncio.run(application(scope, receive, send))
    assert sent[0]["status"] == 499


def test_concurrent_requests_get_their_own_answers(address: str) -> None:
    def doubled(number: int) -> list[list[int]]:
        inputs = {"text_bytes": [str(number)], "numbers": [[number, 0]]}
        url = f"{address}/v1/models/toy:predict"
        return post(url, {"signature_name": "echo", "inputs": inputs})["outputs"]["doubled"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(doubled, range(60)))
    assert answers == [[[2 * number, 0]] for number in range(60)]


@pytest.mark.parametrize(
    ("method", "url", "model", "operation"),
    [
        ("GET", "/v1/models/toy", {"name": "toy"}, "status"),
        ("GET", "/V1/Models/toy/METADATA", {"name": "toy"}, "metadata"),
        ("GET", "/v1/models/metadata", {"name": "metadata"}, "status"),
        (
            "GET",
            "/v1/models/toy/versions/007",
            {"name": "toy", "version": {"value": 7}},
            "status",
        ),
        (
            "GET",
            "/v1/models/toy/labels/is%2Fnew/metadata",
            {"name": "toy", "version_label": "is/new"},
            "metadata",
        ),
        ("POST", "/v1/models/my%20toy:predict", {"name": "my toy"}, "predict"),
        ("POST", "/v1/models/toy:CLASSIFY", {"name": "toy"}, "classify"),
        (
            "POST",
            "/v1/models/toy/versions/0:regress",
            {"name": "toy", "version": {"value": 0}},
            "regress",
        ),
        (
            "POST",
            f"/v1/models/toy/versions/{2**63 - 1}:predict",
            {"name": "toy", "version": {"value": 2**63 - 1}},
            "predict",
        ),
    ],
)
def test_urls_are_read(method: str, url: str, model: dict, operation: str) -> None:
    target = target_of(method, url)
    assert target.model == model_pb2.ModelSpec(**model)
    assert target.operation == operation


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/v1/models/toy/"),
        ("GET", "/v1/models/toy/versions/-1"),
        ("GET", "/v1/models/toy/versions/٣"),
        ("GET", "/v1/models/toy/versions/1/labels/a"),
        ("GET", "/v1/model/toy"),
        ("POST", "/v1/models/:predict"),
        ("POST", "/v1/models/toy:predict/"),
        ("POST", "/v1/models/toy:predict?verbose"),
        ("PUT", "/v1/models/toy:predict"),
        ("HEAD", "/v1/models/toy"),
    ],
)
def test_other_methods_and_urls_are_malformed(method: str, url: str) -> None:
    with pytest.raises(RequestError) as caught:
        target_of(method, url)
    assert caught.value.message == f"Malformed request: {method} {url}"


@pytest.mark.parametrize("version", [str(2**63), "9" * 5000])
def test_a_version_has_63_bits(version: str) -> None:
    with pytest.raises(RequestError) as caught:
        target_of("GET", f"/v1/models/toy/versions/{version}")
    assert caught.value.message == f"Failed to convert version: {version} to numeric."


def test_the_api_begins_with_its_version() -> None:
    assert is_api("/v1/anything")
    assert not is_api("/v2/models/toy")
    assert not is_api("/v1")


TWO = {"ids": tf.TensorSpec([None], tf.string), "x": tf.TensorSpec([None, 2], tf.float32)}
ONE = {"examples": tf.TensorSpec([None], tf.string)}


def test_rows_and_columns_are_the_same_tensors() -> None:
    rows = {"instances": [{"ids": "a", "x": [1, 2]}, {"x": [3, 4.5], "ids": "b"}]}
    columns = {"inputs": {"ids": ["a", "b"], "x": [[1, 2], [3, 4.5]]}}
    for document, is_row_format in ((rows, True), (columns, False)):
        arrays, row_format = predict_inputs(document, TWO)
        assert row_format is is_row_format
        assert arrays["ids"].tolist() == [b"a", b"b"]
        np.testing.assert_array_equal(arrays["x"], np.float32([[1, 2], [3, 4.5]]))


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_a_single_input_needs_no_name(key: str) -> None:
    arrays, _ = predict_inputs({key: [{"b64": "YQ=="}, "b"]}, ONE)
    assert arrays["examples"].tolist() == [b"a", b"b"]


def test_columns_need_not_be_equally_long_and_may_have_others_beside_them() -> None:
    document = {"inputs": {"ids": "a", "x": [[1, 2], [3, 4]], "unknown": [None]}}
    arrays, _ = predict_inputs(document, TWO)
    assert arrays["ids"].tolist() == b"a"
    assert arrays["x"].shape == (2, 2)
    assert arrays.keys() == TWO.keys()


def test_rows_may_have_another_shape_than_the_signature_says() -> None:
    arrays, _ = predict_inputs({"instances": [{"ids": ["a"], "x": 1}]}, TWO)
    assert arrays["ids"].tolist() == [[b"a"]]
    assert arrays["x"].tolist() == [1.0]


def test_signature_name_is_a_string() -> None:
    assert signature_name_in({}) == ""
    assert signature_name_in({"signature_name": "rank"}) == "rank"
    with pytest.raises(RequestError, match="'signature_name' must be a string. Received: 1"):
        signature_name_in({"signature_name": 1})
    with pytest.raises(RequestError, match="half of a surrogate pair"):
        signature_name_in({"signature_name": "\ud800"})


def test_examples_become_messages() -> None:
    document = {
        "context": {"country": "no"},
        "examples": [
            {"n": 2**63 - 1, "x": [1.5, 2.0], "flag": True, "raw": {"b64": "/w=="}},
            {"n": []},
        ],
    }
    message = examples_input(document).example_list_with_context
    assert message.context.features.feature["country"].bytes_list.value[:] == [b"no"]
    features = message.examples[0].features.feature
    assert features["n"].int64_list.value[:] == [2**63 - 1]
    assert features["x"].float_list.value[:] == [1.5, 2.0]
    assert features["flag"].int64_list.value[:] == [1]
    assert features["raw"].bytes_list.value[:] == [b"\xff"]
    assert message.examples[1].features.feature["n"].WhichOneof("kind") is None
    assert len(examples_input({"examples": [{}]}).example_list.examples) == 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "'examples' must be a list that is not empty"),
        ({"examples": 5}, "'examples' must be a list that is not empty"),
        ({"examples": []}, "'examples' must be a list that is not empty"),
        ({"examples": [1]}, "an example must be an object of features. Received: 1"),
        ({"context": [], "examples": [{}]}, r"must be an object of features. Received: \[\]"),
        ({"examples": [{}, {"x": [1, 2.5]}]}, "feature 'x' has values of different types"),
        ({"examples": [{"x": ["a", 1]}]}, "feature 'x' has values of different types"),
        ({"examples": [{"x": [1.0, True]}]}, "feature 'x' has values of different types"),
        ({"examples": [{"x": None}]}, "feature 'x': null is neither a string nor"),
        ({"examples": [{"x": [[1]]}]}, r"feature 'x': \[1\] is neither a string nor"),
        ({"examples": [{"x": [["a"]]}]}, r"feature 'x': \[\"a\"\] is neither a string nor"),
        ({"examples": [{"x": {"a": 1}}]}, "feature 'x': .* is neither a string nor"),
        ({"examples": [{"x": 2**63}]}, "feature 'x': a number is beyond the range of int64"),
        ({"examples": [{"x": 1e39}]}, "feature 'x': a number is beyond the range of float"),
        ({"examples": [{"x": {"b64": "?"}}]}, "Unable to base64 decode"),
        ({"examples": [{"\ud800": 1}]}, "half of a surrogate pair"),
        ({"examples": [{"x": "\ud800"}]}, "half of a surrogate pair"),
    ],
)
def test_wrong_examples_are_refused(document: dict, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        examples_input(document)


LIMIT = 1000
TEXT = b'{"instances": [1, 2]}'


def read(body: bytes, encoding: str = "") -> bytes:
    """Reads a request that arrives in pieces of 10 bytes."""
    pieces = [body[start : start + 10] for start in range(0, len(body), 10)] or [b""]

    async def receive() -> dict:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    headers = [(b"content-encoding", encoding.encode())] if encoding else []
    return asyncio.run(read_body(Request({"type": "http", "headers": headers}, receive), LIMIT))


def test_a_plain_body() -> None:
    assert read(TEXT) == TEXT
    assert read(b"") == b""
    assert read(b"x" * LIMIT) == b"x" * LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_compressed_body(encoding: str) -> None:
    assert read(gzip.compress(TEXT), encoding) == TEXT
    assert read(gzip.compress(b"x" * LIMIT), encoding) == b"x" * LIMIT


def test_the_limit_holds_before_and_after_decompression() -> None:
    with pytest.raises(BodyTooLargeError):
        read(b"x" * (LIMIT + 1))
    small = gzip.compress(b"x" * 10_000_000)[: LIMIT - 1]
    with pytest.raises(BodyTooLargeError):
        read(small, "gzip")


@pytest.mark.parametrize(
    "body", [TEXT, gzip.compress(TEXT)[:-9], b"\x1f\x8b"], ids=["plain", "cut off", "magic alone"]
)
def test_what_gzip_does_not_write_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="gzip data"):
        read(body, "gzip")
