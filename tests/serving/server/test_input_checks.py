from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from serving.runtime import c_api
from serving.server.errors import RequestError
from serving.server.input_checks import check_inputs
from serving.server.servable import Servable
from tests.serving.toy_ranker import toy_arrays, toy_base_path

EXPECTED = {
    "ids": tf.TensorSpec([None], tf.string),
    "ratings": tf.TensorSpec([1, None], tf.float32),
    "anything": tf.TensorSpec(None, tf.int64),
}
GOOD = {
    "ids": np.array(["a", "b"]),
    "ratings": np.zeros((1, 3), dtype=np.float32),
    "anything": np.zeros((2, 2, 2), dtype=np.int64),
}


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[c_api.CApiSession]:
    """The C++ runtime, which is given what the test sends and not what the model takes."""
    monkeypatch.setattr(c_api, "_as_taken", lambda values, data_type: np.asarray(values))
    with c_api.CApiSession(toy_base_path() / "3") as session:
        yield session


def test_right_inputs_pass() -> None:
    checked = check_inputs("rank", EXPECTED, GOOD)
    assert checked.keys() == EXPECTED.keys()
    assert checked["ids"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"ratings": np.zeros((1, 3), dtype=np.float64)},
            "Expects arg[2] to be float but double is provided",
        ),
        ({"ratings": np.array([["5"]])}, "Expects arg[2] to be float but string is provided"),
        ({"ids": np.array([1, 2])}, "Expects arg[1] to be string but int64 is provided"),
        (
            {"ids": np.array(["a", 7], dtype=object)},
            "Expects arg[1] to be string but int is provided",
        ),
        ({"anything": np.int32(1)}, "Expects arg[0] to be int64 but int32 is provided"),
        ({"anything": np.float16(1)}, "Expects arg[0] to be int64 but half is provided"),
        (
            {"ratings": np.float64([[1]]), "anything": np.float64(1)},
            "Expects arg[0] to be int64 but double is provided",
        ),
        (
            {"more": np.zeros(1)},
            "input size does not match signature: 4!=3 len({anything,ids,more,ratings}) != "
            "len({anything,ids,ratings}). Sent extra: {more}. Missing but required: {}.",
        ),
    ],
)
def test_wrong_inputs_are_refused(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_inputs("rank", EXPECTED, GOOD | change)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.message == message


def test_missing_inputs_are_named() -> None:
    with pytest.raises(RequestError) as caught:
        check_inputs("rank", EXPECTED, {"ids": GOOD["ids"]})
    assert caught.value.message == (
        "input size does not match signature: 1!=3 len({ids}) != len({anything,ids,ratings}). "
        "Sent extra: {}. Missing but required: {anything,ratings}."
    )


def test_a_misspelt_input() -> None:
    sent = {"ids": GOOD["ids"], "rating": GOOD["ratings"], "anything": GOOD["anything"]}
    with pytest.raises(RequestError) as caught:
        check_inputs("rank", EXPECTED, sent)
    assert caught.value.message == (
        "Signature input alias: ratings(feed name: rank_ratings:0) not found in request and no "
        "default value provided. Inputs expected to be in the request {anything,ids,rating}, or "
        "default input alias set: "
    )


@pytest.mark.parametrize("name", sorted(toy_arrays()))
def test_the_words_for_a_wrong_type_are_those_of_the_runtime(
    session: c_api.CApiSession, name: str
) -> None:
    specifications = Servable("toy", 3, toy_base_path() / "3").input_specifications(
        "serving_default"
    )
    array = toy_arrays()[name]
    wrong = array.astype(str).astype(object) if array.dtype == np.float32 else np.float32([1])
    sent = toy_arrays() | {name: wrong}
    with pytest.raises(CommandError) as refused:
        session.run("serving_default", sent)
    with pytest.raises(RequestError) as caught:
        check_inputs("serving_default", specifications, sent)
    assert caught.value.message in str(refused.value)


def test_shapes_are_left_to_the_model_as_by_the_runtime(session: c_api.CApiSession) -> None:
    """Where operations broadcast a shape that the signature does not have, both answer."""
    servable = Servable("toy", 3, toy_base_path() / "3")
    one_for_all = toy_arrays() | {"user_log_count": np.float32(1)}
    as_row = toy_arrays() | {"user_log_count": np.float32([[1, 2, 3]])}
    for sent in (one_for_all, as_row):
        expected = session.run("serving_default", sent)["score"]
        scores = servable.run("serving_default", sent)["score"]
        assert scores.shape == expected.shape
        np.testing.assert_allclose(scores, expected, rtol=1e-6)
    too_short = toy_arrays() | {"history_rating": np.float32([1, 2, 3])}
    with pytest.raises(CommandError, match=r"Incompatible shapes: \[3,2\] vs. \[3\]"):
        session.run("serving_default", too_short)
    with pytest.raises(RequestError, match=r"Incompatible shapes: \[3,2\] vs. \[3\]") as caught:
        servable.run("serving_default", too_short)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
