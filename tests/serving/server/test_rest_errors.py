"""Statuses and messages of refused HTTP requests; docs/serving_protocol.md lists them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from serving.options import ServerOptions
from serving.server import LocalServer
from tests.serving.guide_models import guide_base_paths
from tests.waiting import LONGEST_SECONDS as SECONDS

EMPTY = "the JSON cannot be parsed: Expecting value: line 1 column 1 (char 0)"
UNEVEN = "lists must be nested evenly, as their first elements are:"
IDS = "an object with the keys item_id, user_id"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    options = ServerOptions(poll_seconds=0, max_rest_request_bytes=100_000)
    with LocalServer(guide_base_paths(), options=options) as server:
        yield f"http://127.0.0.1:{server.rest_port}"


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "other", 404, "Could not find any versions of model other"),
        ("GET", "guide/versions/9", 404, "Could not find version 9 of model guide"),
        ("GET", "other/metadata", 404, "Servable not found for request: Latest(other)"),
        (
            "GET",
            "guide/versions/9/metadata",
            404,
            "Servable not found for request: Specific(guide, 9)",
        ),
        ("GET", "guide/labels/new/metadata", 400, "Unrecognized servable version label: new"),
        (
            "GET",
            f"guide/versions/{2**63}",
            400,
            f"Failed to convert version: {2**63} to numeric.",
        ),
        ("GET", "guide/versions/x", 400, "Malformed request: GET /v1/models/guide/versions/x"),
        ("GET", "guide:predict", 400, "Malformed request: GET /v1/models/guide:predict"),
        ("GET", "x" * 10_000, 404, "Could not find any versions of model " + "x" * 10_000),
        ("GET", "two%0Alines", 404, "Could not find any versions of model two\nlines"),
        ("GET", "..%2F..%2Fetc", 404, "Could not find any versions of model ../../etc"),
        ("GET", "guide/labels/..%2F5/metadata", 400, "Unrecognized servable version label: ../5"),
        (
            "GET",
            "guide/versions/..%2F5",
            400,
            "Malformed request: GET /v1/models/guide/versions/..%2F5",
        ),
        ("GET", "no%20such/metadata", 404, "Servable not found for request: Latest(no such)"),
        ("POST", "guide", 400, "Malformed request: POST /v1/models/guide"),
        ("POST", "guide:guess", 400, "Malformed request: POST /v1/models/guide:guess"),
        ("POST", "guide:predict?a=1", 400, "Malformed request: POST /v1/models/guide:predict?a=1"),
        ("PUT", "guide:predict", 400, "Malformed request: PUT /v1/models/guide:predict"),
        ("DELETE", "guide", 400, "Malformed request: DELETE /v1/models/guide"),
        ("OPTIONS", "guide:predict", 400, "Malformed request: OPTIONS /v1/models/guide:predict"),
        ("POST", "guide:predict", 400, EMPTY),
        ("POST", "guide:classify", 400, EMPTY),
    ],
)
def test_methods_and_urls(address: str, method: str, path: str, status: int, message: str) -> None:
    response = requests.request(method, f"{address}/v1/models/{path}", timeout=SECONDS)
    assert (response.status_code, response.json()) == (status, {"error": message})
    assert response.headers["content-type"] == "application/json"
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


def test_urls_outside_the_api(address: str) -> None:
    response = requests.get(f"{address}/v1/models", timeout=SECONDS)
    assert (response.status_code, response.json()["error"]) == (
        400,
        "Missing model name in request.",
    )
    assert requests.get(f"{address}/v2/health", timeout=SECONDS).status_code == 404
    assert requests.head(f"{address}/v1/models/guide", timeout=SECONDS).status_code == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '{"instances": [1,}',
            "the JSON cannot be parsed: Expecting value: line 1 column 18 (char 17)",
        ),
        ('"text"', 'the JSON must be an object. Received: "text"'),
        ('{"signature_name": 5}', "'signature_name' must be a string. Received: 5"),
        (
            '{"signature_name": "guess", "instances": [1]}',
            'Serving signature name: "guess" not found in signature def',
        ),
        ("{}", "a request must have either 'instances' or 'inputs'"),
        ('{"inputs": 1, "instances": 2}', "a request must have either 'instances' or 'inputs'"),
        ('{"instances": 7}', "'instances' must be a list that is not empty"),
        ('{"instances": []}', "'instances' must be a list that is not empty"),
        ('{"instances": [1.0, "2"]}', "input 'x': \"2\" is not of type float"),
        ('{"instances": [null]}', "input 'x': null is not of type float"),
        (
            '{"instances": [{"x": 1, "z": 2}]}',
            'instances[0] must be an object with the keys x alone. Received: {"x": 1, "z": 2}',
        ),
        (
            '{"instances": [{"x": 1}, {}]}',
            "instances[1] must be an object with the keys x alone. Received: {}",
        ),
        (
            '{"instances": [{"x": 1}, 2]}',
            "instances[1] must be an object with the keys x alone. Received: 2",
        ),
        (
            '{"instances": [1, {"x": 2}]}',
            "instances[0] must be an object with the keys x alone. Received: 1",
        ),
        ('{"instances": [[1, 2], [3]]}', f"input 'x': {UNEVEN} [2, 2]"),
        ('{"instances": [[1], [[3]]]}', f"input 'x': {UNEVEN} [2, 1]"),
        ('{"instances": [1e39]}', "input 'x': a number is beyond the range of float"),
        ('{"inputs": {"z": 1}}', "'inputs' must be an object with the keys x"),
        ('{"inputs": [[1, 2], [3]]}', f"input 'x': {UNEVEN} [2, 2]"),
        ('{"inputs": [1, [2]]}', f"input 'x': {UNEVEN} [2]"),
        ('{"inputs": [[1], 2]}', f"input 'x': {UNEVEN} [2, 1]"),
        ('{"inputs": true}', "input 'x': true is not of type float"),
        (
            '{"inputs": {"x": {"b64": "YQ=="}}}',
            'input \'x\': {"b64": "YQ=="} is not of type float',
        ),
    ],
)
def test_predict_of_one_input(address: str, body: str, message: str) -> None:
    url = f"{address}/v1/models/half_plus_two:predict"
    response = requests.post(url, data=body, timeout=SECONDS)
    assert (response.status_code, response.json()) == (400, {"error": message})


@pytest.mark.parametrize(
    ("signature_name", "fields", "status", "message"),
    [
        ("ids", '"instances": [1]', 400, f"instances[0] must be {IDS} alone. Received: 1"),
        ("ids", '"inputs": [1]', 400, f"'inputs' must be {IDS}"),
        ("ids", '"inputs": {"user_id": [1]}', 400, f"'inputs' must be {IDS}"),
        (
            "ids",
            '"instances": [{"user_id": 1, "item_id": [[1, 2]]}, {"user_id": 1, "item_id": [[1]]}]',
            400,
            f"input 'item_id': {UNEVEN} [2, 1, 2]",
        ),
        (
            "ids",
            '"inputs": {"item_id": [1.0], "user_id": [1]}',
            400,
            "input 'item_id': 1.0 is not of type int64",
        ),
        (
            "ids",
            f'"inputs": {{"item_id": [{2**63}], "user_id": [1]}}',
            400,
            "input 'item_id': a number is beyond the range of int64",
        ),
        (
            "ids",
            '"instances": [{"user_id": 1e3, "item_id": 1}]',
            400,
            "input 'user_id': 1000.0 is not of type int64",
        ),
        (
            "texts",
            '"inputs": [{"b64": 7}]',
            400,
            'input \'text\': {"b64": 7} is neither a string nor {"b64": "..."}',
        ),
        ("texts", '"inputs": [{"b64": "?"}]', 400, "input 'text': Unable to base64 decode"),
        ("halves", '"inputs": [1]', 501, "input 'half': JSON does not carry the type half"),
        (
            "half_results",
            '"inputs": [1]',
            400,
            "Failed to write JSON value for tensor type: half",
        ),
        ("totals", '"instances": [1, 2]', 400, "Tensor name: total has no shape information "),
    ],
)
def test_predict_of_several_inputs_and_types(
    address: str, signature_name: str, fields: str, status: int, message: str
) -> None:
    body = f'{{"signature_name": "{signature_name}", {fields}}}'
    response = requests.post(f"{address}/v1/models/guide:predict", data=body, timeout=SECONDS)
    assert (response.status_code, response.json()) == (status, {"error": message})


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("half_plus_two:classify", '{"examples": [{"x": 1.0}]}', "a signature that classifies has"),
        ("half_plus_two:regress", '{"examples": [{"x": 1.0}]}', "a signature that regresses has"),
        (
            "half_plus_two:regress",
            '{"examples": [{}], "signature_name": "guess"}',
            "No signature was found with the name: guess",
        ),
        (
            "half_plus_two:regress",
            '{"signature_name": "regress_x_to_y", "examples": [{}]}',
            "required but could not be found",
        ),
        (
            "half_plus_two:regress",
            '{"signature_name": "regress_x2_to_y3", "examples": [{}]}',
            "Expects arg[0] to be float but string is provided",
        ),
        (
            "guide:classify",
            '{"signature_name": "ids", "examples": [{}]}',
            "a signature that classifies has",
        ),
        (
            "guide:regress",
            '{"signature_name": "images", "examples": [{}]}',
            "a signature that regresses has",
        ),
    ],
)
def test_classify_and_regress(address: str, path: str, body: str, message: str) -> None:
    response = requests.post(f"{address}/v1/models/{path}", data=body, timeout=SECONDS)
    assert response.status_code == 400
    assert message in response.json()["error"]


@pytest.mark.parametrize(
    "inputs",
    ["[" + "1.0," * 30_000 + "1.0]", "[" + "[]," * 30_000 + "[]]"],
    ids=["values", "lists"],
)
def test_a_document_of_too_many_values(inputs: str) -> None:
    options = ServerOptions(max_request_input_bytes=500_000)
    with LocalServer(guide_base_paths(), options=options) as server:
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/guide:predict"
        response = requests.post(url, data=f'{{"inputs": {inputs}}}', timeout=SECONDS)
    assert response.status_code == 413
    assert "--max-request-input-bytes" in response.json()["error"]


def test_a_body_that_is_too_large(address: str) -> None:
    url = f"{address}/v1/models/guide:predict"
    response = requests.post(url, data=" " * 100_001, timeout=SECONDS)
    assert response.status_code == 413
    assert response.json() == {"error": "The request body is larger than 100000 bytes."}
