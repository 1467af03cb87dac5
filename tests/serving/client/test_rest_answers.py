from __future__ import annotations

import numpy as np
import pytest

from serving.client.errors import RankingError, ServerUnavailable
from serving.client.rest_client import array_of, document_of


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (409, "ABORTED"),
        (413, "RESOURCE_EXHAUSTED"),
        (418, "UNKNOWN"),
        (429, "RESOURCE_EXHAUSTED"),
        (499, "CANCELLED"),
        (500, "INTERNAL"),
        (501, "UNIMPLEMENTED"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_status_of_http_has_a_code(status: int, code: str) -> None:
    with pytest.raises(RankingError, match="http://h:1 .*full") as caught:
        document_of(status, b'{"error": "full"}', "http://h:1")
    assert caught.value.code == code
    assert isinstance(caught.value, ServerUnavailable) == (status == 503)


@pytest.mark.parametrize("body", [b"", b"[1]", b"<html>", b"\xff", b"[" * 100_000])
def test_an_answer_must_be_an_object(body: bytes) -> None:
    with pytest.raises(RankingError, match="not a JSON object"):
        document_of(200, body, "http://h:1")
    with pytest.raises(RankingError, match="HTTP status 404"):
        document_of(404, body, "http://h:1")
    assert document_of(200, b'{"outputs": []}', "http://h:1") == {"outputs": []}


def test_arrays_have_the_type_of_their_values() -> None:
    scores = array_of("score", [[0.5, 0.25]])
    assert (scores.dtype, scores.tolist()) == (np.float32, [[0.5, 0.25]])
    assert array_of("item_id", [[318]]).dtype == np.int64
    assert array_of("item_id", [["a"]]).dtype == object
    assert (array_of("item_id", [[]]).dtype, array_of("score", [[]]).dtype) == (object, np.float32)
    for values in ([1], None, [[0.5], 0.5], ["a", 0.5], 0.5):
        with pytest.raises(RankingError, match="'score' is"):
            array_of("score", values)
