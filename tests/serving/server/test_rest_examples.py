from __future__ import annotations

import pytest

from serving.server.errors import RequestError
from serving.server.rest_app import examples_input


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
        ({}, "When method is classify, key 'examples' is expected and was not found"),
        ({"examples": 5}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"context": [], "examples": [{}]}, "Example must be JSON object but got JSON Array"),
        (
            {"examples": [{}, {"x": [1, 2.5]}]},
            "Unexpected element type in feature: x expecting type: int64",
        ),
        ({"examples": [{"x": ["a", 1]}]}, "feature: x expecting type: bytes"),
        ({"examples": [{"x": [1.0, True]}]}, "feature: x expecting type: float"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": {"a": 1}}]}, "has element with unexpected JSON type: Object"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64 element. Only int64 is supported."),
        (
            {"examples": [{"x": 1e39}]},
            "Cannot convert JSON value: 1e\\+39 to float without loss of precision.",
        ),
        ({"examples": [{"x": {"b64": "?"}}]}, "Unable to base64 decode"),
        ({"examples": [{"\ud800": 1}]}, "The surrogate pair in string is invalid."),
        ({"examples": [{"x": "\ud800"}]}, "The surrogate pair in string is invalid."),
    ],
)
def test_wrong_examples_are_refused(document: dict, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        examples_input(document)
