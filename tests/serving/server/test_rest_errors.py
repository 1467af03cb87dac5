"""Statuses and messages of refused HTTP requests, word for word those of TensorFlow Serving.

docs/serving_protocol.md names the source of each.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from serving.options import ServerOptions
from serving.server import LocalServer
from tests.serving.guide_models import guide_base_paths

SECONDS = 20
ELEMENT = "Failed to process element: "
WRONG = "INVALID_ARGUMENT: "
MANY_INPUTS = "multiple input tensors required as per tensorinfo_map"


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
        ("GET", "no%20such/metadata", 404, "Servable not found for request: Latest(no such)"),
        ("POST", "guide", 400, "Malformed request: POST /v1/models/guide"),
        ("POST", "guide:guess", 400, "Malformed request: POST /v1/models/guide:guess"),
        ("POST", "guide:predict?a=1", 400, "Malformed request: POST /v1/models/guide:predict?a=1"),
        ("PUT", "guide:predict", 400, "Malformed request: PUT /v1/models/guide:predict"),
        ("DELETE", "guide", 400, "Malformed request: DELETE /v1/models/guide"),
        ("OPTIONS", "guide:predict", 400, "Malformed request: OPTIONS /v1/models/guide:predict"),
        ("POST", "guide:predict", 400, "JSON Parse error: The document is empty"),
        ("POST", "guide:classify", 400, "JSON Parse error: The document is empty"),
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
        ('{"instances": [1,}', "JSON Parse error: Expecting value at offset: 17"),
        ('"text"', 'JSON Value: "text" Is not object'),
        (
            '{"signature_name": 5}',
            'JSON Value: {\n    "signature_name": 5\n} not formatted correctly. '
            "'signature_name' key must be a string value.",
        ),
        (
            '{"signature_name": "guess", "instances": [1]}',
            'Serving signature name: "guess" not found in signature def',
        ),
        ("{}", "Missing 'inputs' or 'instances' key"),
        (
            '{"inputs": 1, "instances": 2}',
            'JSON Value: {\n    "inputs": 1,\n    "instances": 2\n} Not formatted correctly '
            "expecting only one of 'inputs' or 'instances' keys to exist ",
        ),
        (
            '{"instances": 7}',
            "JSON Value: {\n    \"instances\": 7\n} Excepting 'instances' to be an list/array",
        ),
        (
            '{"instances": []}',
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
        ),
        (
            '{"instances": [1.0, "2"]}',
            f"{ELEMENT}1 of 'instances' list. Error: {WRONG}"
            'JSON Value: "2" Type: String is not of expected type: float',
        ),
        (
            '{"instances": [null]}',
            f"{ELEMENT}0 of 'instances' list. Error: {WRONG}"
            "JSON Value: null Type: Null is not of expected type: float",
        ),
        (
            '{"instances": [{"x": 1, "z": 2}]}',
            f"{ELEMENT}0 key: z of 'instances' list. Error: {WRONG}"
            "JSON object: does not have named input: z",
        ),
        (
            '{"instances": [{"x": 1}, {}]}',
            f"{ELEMENT}1 of 'instances' list. JSON object: {{}} must only have keys: x",
        ),
        (
            '{"instances": [{"x": 1}, 2]}',
            "Expecting object but got list at item 1 of input list",
        ),
        (
            '{"instances": [1, {"x": 2}]}',
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            '{"instances": [[1, 2], [3]]}',
            f"{ELEMENT}1 of 'instances' list. Error: {WRONG}Expecting tensor size: 2 but got: 1",
        ),
        (
            '{"instances": [[1], [[3]]]}',
            f"{ELEMENT}1 of 'instances' list. Error: {WRONG}Expecting shape [1] but got: [1,1]",
        ),
        (
            '{"instances": [1e39]}',
            f"{ELEMENT}0 of 'instances' list. Error: {WRONG}"
            "Cannot convert JSON value: 1e+39 to float without loss of precision.",
        ),
        ('{"inputs": {"z": 1}}', "Missing named input: x in 'inputs' object."),
        (
            '{"inputs": [[1, 2], [3]]}',
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        (
            '{"inputs": [[1], 2]}',
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            '{"inputs": true}',
            "JSON Value: true Type: True is not of expected type: float",
        ),
        (
            '{"inputs": {"x": {"b64": "YQ=="}}}',
            'JSON Value: {\n    "b64": "YQ=="\n} Type: Object is not of expected type: float',
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
        (
            "ids",
            '"instances": [1]',
            400,
            f"instances is a plain list, but expecting list of objects as {MANY_INPUTS}",
        ),
        (
            "ids",
            '"inputs": [1]',
            400,
            f"inputs is a plain value/list, but expecting an object as {MANY_INPUTS}",
        ),
        (
            "ids",
            '"inputs": {"user_id": [1]}',
            400,
            "Missing named input: item_id in 'inputs' object.",
        ),
        (
            "ids",
            '"inputs": {"item_id": [1.0], "user_id": [1]}',
            400,
            "JSON Value: 1.0 Type: Number is not of expected type: int64",
        ),
        (
            "ids",
            f'"inputs": {{"item_id": [{2**63}], "user_id": [1]}}',
            400,
            f"JSON Value: {2**63} Type: Number is not of expected type: int64",
        ),
        (
            "ids",
            '"instances": [{"user_id": 1e3, "item_id": 1}]',
            400,
            f"{ELEMENT}0 key: user_id of 'instances' list. Error: {WRONG}"
            "JSON Value: 1000.0 Type: Number is not of expected type: int64",
        ),
        (
            "texts",
            '"inputs": [{"b64": 7}]',
            400,
            'JSON Value: {\n    "b64": 7\n} not formatted correctly for base64 data',
        ),
        ("texts", '"inputs": [{"b64": "?"}]', 400, "Unable to base64 decode"),
        ("halves", '"inputs": [1]', 501, "Conversion of JSON Value: 1 to type: half"),
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
        ("half_plus_two:classify", '{"examples": [{"x": 1.0}]}', "No classification inputs found"),
        ("half_plus_two:regress", '{"examples": [{"x": 1.0}]}', "No regression inputs found"),
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
            "Expected one input Tensor.",
        ),
        (
            "guide:regress",
            '{"signature_name": "images", "examples": [{}]}',
            "Expected one output Tensor.",
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
