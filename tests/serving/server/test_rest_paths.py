from __future__ import annotations

import pytest

from serving.protocol.messages import model_pb2
from serving.server.errors import RequestError
from serving.server.rest_app import is_api, target_of


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
