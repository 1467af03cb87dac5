"""The description of the REST API, `docs/reference/rest_api.yaml`, and what the server does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import requests
import yaml

from serving.server.errors import RequestError
from serving.server.rest_app import target_of
from tests.fuzz.rest_api import DESCRIPTION, served_models
from tests.waiting import LONGEST_SECONDS as SECONDS


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served_models() as url:
        yield url


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return yaml.safe_load(DESCRIPTION.read_text(encoding="utf-8"))


def test_described_addresses_are_those_that_are_read(description: dict[str, Any]) -> None:
    read = set()
    for path, item in description["paths"].items():
        if not path.startswith("/v1/"):
            continue
        url = path.format(name="movies", version="3", label="stable")
        for method in ("GET", "POST"):
            if method.lower() not in item:
                with pytest.raises(RequestError):
                    target_of(method, url)
                continue
            target = target_of(method, url)
            suffix = path.replace("/metadata", ":metadata").rpartition("}")[2]
            assert target.operation == (suffix.removeprefix(":") or "status")
            assert target.model.name == "movies"
            assert target.model.version.value == (3 if "{version}" in path else 0)
            assert target.model.version_label == ("stable" if "{label}" in path else "")
            read.add((target.operation, path.partition("{name}")[2].partition("{")[0]))
    assert len(read) == 15


GOOD = {"instances": [1.0, 2.0, 5.0]}
EXAMPLES = {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}
STATUS, METADATA, PREDICT = (
    "/v1/models/{name}",
    "/v1/models/{name}/metadata",
    "/v1/models/{name}:predict",
)
CLASSIFY, REGRESS = "/v1/models/{name}:classify", "/v1/models/{name}:regress"
LABELLED = "/v1/models/{name}/labels/{label}:predict"


@pytest.mark.parametrize(
    ("path", "name", "body", "status"),
    [
        (STATUS, "guide", None, 200),
        (STATUS, "nobody", None, 404),
        ("/v1/models/{name}/versions/{version}", "half_plus_two", None, 200),
        ("/v1/models/{name}/labels/{label}", "half_plus_two", None, 400),
        (METADATA, "guide", None, 200),
        (METADATA, "nobody", None, 404),
        (PREDICT, "half_plus_two", GOOD, 200),
        (PREDICT, "half_plus_two", {"inputs": [1.0]}, 200),
        (PREDICT, "half_plus_two", {"instances": [float("nan")]}, 200),
        (PREDICT, "half_plus_two", {"instances": []}, 400),
        (PREDICT, "nobody", GOOD, 404),
        (PREDICT, "guide", {"signature_name": "halves", "inputs": [1.0]}, 501),
        (
            PREDICT,
            "guide",
            {"signature_name": "ids", "inputs": {"user_id": [1], "item_id": [2]}},
            200,
        ),
        (LABELLED, "guide", {"signature_name": "texts", "instances": ["a"]}, 200),
        (CLASSIFY, "half_plus_two", EXAMPLES, 200),
        (CLASSIFY, "half_plus_two", {"examples": []}, 400),
        (REGRESS, "half_plus_two", EXAMPLES | {"signature_name": "regress_x_to_y"}, 200),
        (REGRESS, "nobody", EXAMPLES, 404),
    ],
)
def test_answers_are_as_they_are_described(
    address: str,
    description: dict[str, Any],
    path: str,
    name: str,
    body: dict[str, Any] | None,
    status: int,
) -> None:
    url = address + path.format(name=name, version=123, label="stable")
    method, sent = ("get", None) if body is None else ("post", json.dumps(body))
    answer = requests.request(method, url, data=sent, timeout=SECONDS)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    described = description["paths"][path][method]["responses"][str(status)]["$ref"]
    schema = f"{described}/content/application~1json/schema"
    check(description, schema, answer.json())
    if body is not None and status == 200:
        request = description["paths"][path][method]["requestBody"]["$ref"]
        check(description, f"{request}/content/application~1json/schema", body)


def check(description: dict[str, Any], schema: str, document: object) -> None:
    whole = {"$ref": schema, "components": description["components"]}
    jsonschema.Draft202012Validator(whole).validate(document)


@pytest.mark.parametrize(
    ("body", "path", "answer"),
    [
        (("predict", "rows"), PREDICT, {"predictions": [2.5, 3.0, 4.5]}),
        (("predict", "named_rows"), PREDICT, {"predictions": [2.5, 3.0]}),
        (("predict", "columns"), PREDICT, {"outputs": [2.5, 3.0, 4.5]}),
        (("examples", "classify"), CLASSIFY, {"results": [[["", 2.5]], [["", 3.0]]]}),
        (("examples", "regress"), REGRESS, {"results": [3.0]}),
    ],
)
def test_the_descriptions_examples_are_answered(
    address: str, description: dict[str, Any], body: tuple[str, str], path: str, answer: object
) -> None:
    kind, example = body
    content = description["components"]["requestBodies"][kind]["content"]["application/json"]
    url = address + path.format(name="half_plus_two")
    sent = requests.post(url, json=content["examples"][example]["value"], timeout=SECONDS)
    assert (sent.status_code, sent.json()) == (200, answer)
