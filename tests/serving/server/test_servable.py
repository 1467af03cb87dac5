from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from serving import c_api
from serving.protocol.messages import input_pb2, tensor_pb2, types_pb2
from serving.protocol.tensors import pack
from serving.server.errors import RequestError, RequestTooLargeError
from serving.server.servable import RequestLimits, SavedModelSession, Servable, check_inputs
from tests.serving.server.numbered_model import put_numbered_model
from tests.serving.toy_ranker import (
    toy_arrays,
    toy_base_path,
    toy_row_scores,
    toy_rows,
    toy_score,
)


@pytest.fixture(scope="module")
def servable() -> Servable:
    return Servable("toy", 3, toy_base_path() / "3")


def test_rows_are_scored_as_in_numpy(servable: Servable) -> None:
    outputs = servable.run("serving_default", toy_arrays())
    assert outputs.keys() == {"score"}
    assert outputs["score"].dtype == np.float32
    np.testing.assert_allclose(outputs["score"], toy_row_scores(), rtol=1e-6)


def test_a_batch_of_one_keeps_its_dimension(servable: Servable) -> None:
    rows = {name: values[:1] for name, values in toy_rows().items()}
    outputs = servable.run("serving_default", toy_arrays(rows))
    np.testing.assert_allclose(outputs["score"], toy_row_scores()[:1], rtol=1e-6)


def test_rank_scores_every_candidate_for_one_user(servable: Servable) -> None:
    user = {name: values[0] for name, values in toy_rows().items() if name != "item_id"}
    candidates = ["a", "bb", "ccc", "dddd"]
    rows = {name: [value] for name, value in user.items()} | {"item_id": candidates}
    outputs = servable.run("rank", toy_arrays(rows))
    expected = [toy_score(item_id=item, **user) for item in candidates]
    np.testing.assert_allclose(outputs["score"], expected, rtol=1e-6)


def test_strings_may_be_text_bytes_or_fixed_width(servable: Servable) -> None:
    numbers = np.zeros((2, 2), dtype=np.int64)
    for text in (["a", "über"], [b"a", "über".encode()]):
        for array in (np.array(text), np.array(text, dtype=object)):
            outputs = servable.run("echo", {"text_bytes": array, "numbers": numbers})
            assert outputs["text_bytes"].tolist() == [b"a", "über".encode()]


def test_output_filter_selects(servable: Servable) -> None:
    inputs = {"text_bytes": np.array(["a"]), "numbers": np.array([[1, 2]])}
    assert servable.run("echo", inputs).keys() == {"doubled", "text_bytes"}
    outputs = servable.run("echo", inputs, ["doubled"])
    assert outputs.keys() == {"doubled"}
    assert outputs["doubled"].tolist() == [[2, 4]]


@pytest.mark.parametrize(
    ("output_filter", "name"), [(["nothing"], "nothing"), (["doubled", "doubled"], "doubled")]
)
def test_a_wrong_output_filter_is_refused(
    servable: Servable, output_filter: list[str], name: str
) -> None:
    inputs = {"text_bytes": np.array(["a"]), "numbers": np.array([[1, 2]])}
    with pytest.raises(RequestError, match=name) as caught:
        servable.run("echo", inputs, output_filter)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_signature_is_refused_with_the_known_ones(servable: Servable) -> None:
    with pytest.raises(RequestError, match='"guess".*echo,.*rank') as caught:
        servable.run("guess", {})
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_what_only_the_graph_notices_is_explained_without_its_traces(servable: Servable) -> None:
    arrays = toy_arrays() | {"item_id": np.array(["a", "b"], dtype=object)}
    with pytest.raises(RequestError) as caught:
        servable.run("serving_default", arrays)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "ncompatible shapes" in caught.value.message
    assert "\n" not in caught.value.message
    assert "{{node" not in caught.value.message
    assert "most recent call" not in caught.value.message


def test_a_damaged_example_is_the_callers_mistake(servable: Servable) -> None:
    with pytest.raises(RequestError) as caught:
        servable.run("predict_examples", {"examples": np.array([b"\xff\xff"], dtype=object)})
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_signature_definitions_are_read_from_the_file(servable: Servable) -> None:
    definition = servable.signature_definitions["serving_default"]
    assert definition.method_name == "tensorflow/serving/predict"
    assert set(definition.inputs) == set(toy_rows())
    assert definition.outputs["score"].dtype == 1


def test_numpy_oracle_by_hand() -> None:
    logit = 0.3 * 1 - 0.2 * 2 + 0.05 * 8.5 + 0.5 * 0.5 - 0.1 * 4.25 + 0.2 * 1.1 - 0.125
    assert math.isclose(toy_row_scores()[0], 1 / (1 + math.exp(-logit)))


@pytest.fixture(scope="module")
def session() -> SavedModelSession:
    return SavedModelSession(toy_base_path() / "3")


def test_signatures_are_described_by_their_definitions(session: SavedModelSession) -> None:
    assert (
        set(session.inputs)
        == set(session.outputs)
        == {
            *("serving_default", "rank", "predict_examples", "classify", "classify_labelled"),
            *("regress", "echo"),
        }
    )
    # TensorFlow Serving lists the initialization too when it is asked for the definitions.
    assert set(session.definitions) == {*session.inputs, "__saved_model_init_op"}
    assert set(session.inputs["serving_default"]) == set(toy_rows())
    history = session.inputs["rank"]["history_rating"]
    assert (history.dtype, history.shape.as_list()) == (tf.float32, [1, None])
    assert session.outputs["echo"]["doubled"].shape.as_list() == [None, 2]


def test_signatures_run_as_tensorflow_2_functions_do(session: SavedModelSession) -> None:
    scores = session.run("serving_default", toy_arrays())["score"]
    functions = tf.saved_model.load(str(toy_base_path() / "3")).signatures
    tensors = {name: tf.constant(array) for name, array in toy_arrays().items()}
    expected = functions["serving_default"](**tensors)["score"].numpy()
    assert scores.tolist() == expected.tolist()
    np.testing.assert_allclose(scores, toy_row_scores(), rtol=1e-6)


def test_ranks_are_left_to_the_graph(session: SavedModelSession) -> None:
    """As in TensorFlow Serving: three users and three items are multiplied element by element."""
    scores = session.run("rank", toy_arrays())["score"]
    np.testing.assert_allclose(scores, toy_row_scores(), rtol=1e-6)


def test_errors_of_the_runtime_have_their_type(session: SavedModelSession) -> None:
    arrays = toy_arrays() | {"item_id": np.array(["a", "b"], dtype=object)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="Incompatible shapes"):
        session.run("serving_default", arrays)


def test_many_threads_of_a_session_get_their_own_answers(session: SavedModelSession) -> None:
    def doubled(number: int) -> list[list[int]]:
        text = np.array([str(number)], dtype=object)
        outputs = session.run("echo", {"text_bytes": text, "numbers": np.array([[number, 1]])})
        assert outputs["text_bytes"].tolist() == [str(number).encode()]
        return outputs["doubled"].tolist()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(doubled, range(200))) == [[[2 * one, 2]] for one in range(200)]


def test_sessions_do_not_share_variables(tmp_path: Path) -> None:
    sessions = [SavedModelSession(put_numbered_model(tmp_path, number)) for number in (1, 2)]
    answers = [one.run("serving_default", {"x": np.float32([0.5])})["y"] for one in sessions]
    assert [answer.tolist() for answer in answers] == [[1.5], [2.5]]


def test_nothing_keeps_a_session_that_nobody_uses(tmp_path: Path) -> None:
    session = SavedModelSession(put_numbered_model(tmp_path, 1))
    session.run("serving_default", {"x": np.float32([0.5])})
    kept = weakref.ref(session)
    del session
    gc.collect()
    assert kept() is None


def test_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"saved_model\.pb cannot be read"):
        SavedModelSession(tmp_path)


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
def runtime_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[c_api.CApiSession]:
    """The C++ runtime, which is given what the test sends and not what the model takes."""
    monkeypatch.setattr(c_api, "_as_taken", lambda values, data_type: np.asarray(values))
    with c_api.CApiSession(toy_base_path() / "3") as runtime_session:
        yield runtime_session


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
    runtime_session: c_api.CApiSession, name: str
) -> None:
    specifications = Servable("toy", 3, toy_base_path() / "3").input_specifications(
        "serving_default"
    )
    array = toy_arrays()[name]
    wrong = array.astype(str).astype(object) if array.dtype == np.float32 else np.float32([1])
    sent = toy_arrays() | {name: wrong}
    with pytest.raises(CommandError) as refused:
        runtime_session.run("serving_default", sent)
    with pytest.raises(RequestError) as caught:
        check_inputs("serving_default", specifications, sent)
    assert caught.value.message in str(refused.value)


def test_shapes_are_left_to_the_model_as_by_the_runtime(runtime_session: c_api.CApiSession) -> None:
    """Where operations broadcast a shape that the signature does not have, both answer."""
    servable = Servable("toy", 3, toy_base_path() / "3")
    one_for_all = toy_arrays() | {"user_log_count": np.float32(1)}
    as_row = toy_arrays() | {"user_log_count": np.float32([[1, 2, 3]])}
    for sent in (one_for_all, as_row):
        expected = runtime_session.run("serving_default", sent)["score"]
        scores = servable.run("serving_default", sent)["score"]
        assert scores.shape == expected.shape
        np.testing.assert_allclose(scores, expected, rtol=1e-6)
    too_short = toy_arrays() | {"history_rating": np.float32([1, 2, 3])}
    with pytest.raises(CommandError, match=r"Incompatible shapes: \[3,2\] vs. \[3\]"):
        runtime_session.run("serving_default", too_short)
    with pytest.raises(RequestError, match=r"Incompatible shapes: \[3,2\] vs. \[3\]") as caught:
        servable.run("serving_default", too_short)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def repeated(value: bytes | float, *shape: int) -> tensor_pb2.TensorProto:
    """A tensor of one value that is sent once."""
    message = tensor_pb2.TensorProto()
    for length in shape:
        message.tensor_shape.dim.add(size=length)
    if isinstance(value, bytes):
        message.dtype = types_pb2.DT_STRING
        message.string_val.append(value)
    else:
        message.dtype = types_pb2.DT_FLOAT
        message.float_val.append(value)
    return message


LIMITS = RequestLimits(rows=100, input_bytes=10_000)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ({"item_id": repeated(b"1", 101)}, "item_id: 101 rows or candidates"),
        ({"item_id": repeated(b"1", 51, 2)}, "item_id: 102 rows or candidates"),
        ({"user_id": repeated(b"1", 101)}, "user_id: 101 rows"),
        ({"x": repeated(1.0, 1, 2501)}, "10004 bytes, more than 10000"),
        ({"x": repeated(b"", 1, 417)}, "10008 bytes, more than 10000"),
        ({"x": repeated(b"t" * 500, 20)}, "10480 bytes, more than 10000"),
        ({"x": repeated(1.0, 50, 30), "y": repeated(1.0, 50, 30)}, "12000 bytes"),
    ],
)
def test_tensors_are_measured_before_they_are_made(messages, reason: str) -> None:
    with pytest.raises(RequestTooLargeError, match=reason) as caught:
        LIMITS.check_messages(messages)
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_tensors_at_the_limits_pass() -> None:
    for message in (repeated(b"1", 100), repeated(1.0, 1, 2500), repeated(1.0)):
        LIMITS.check_messages({"x": message})
    LIMITS.check_messages({"item_id": repeated(b"1", 50, 2)})
    LIMITS.check_messages({"x": pack(np.array(["a" * 9000], dtype=object))})


@pytest.mark.parametrize("shape", [[-1], [2**62, 2**62], [1] * 40, [0, 2**40]])
def test_shapes_that_cannot_be_are_invalid(shape: list[int]) -> None:
    with pytest.raises(RequestError, match="tensor parsing error: x") as caught:
        LIMITS.check_messages({"x": repeated(1.0, *shape)})
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_arrays_and_examples_are_measured_as_tensors_are() -> None:
    with pytest.raises(RequestTooLargeError, match="item_id: 102 rows or candidates"):
        LIMITS.check_arrays({"item_id": np.full((2, 51), b"1", dtype=object)})
    with pytest.raises(RequestTooLargeError, match="10480 bytes"):
        texts = np.full(20, b"", dtype=object)
        texts[7] = b"t" * 500
        LIMITS.check_arrays({"x": texts})
    message = input_pb2.Input()
    for _ in range(100):
        message.example_list_with_context.examples.add()
    LIMITS.check_examples(message)
    # Every example is completed by the context.
    feature = message.example_list_with_context.context.features.feature["x"]
    feature.bytes_list.value.append(b"t" * 100)
    with pytest.raises(RequestTooLargeError, match="bytes, more than 10000"):
        LIMITS.check_examples(message)
    long = input_pb2.Input()
    for _ in range(5):
        short = long.example_list.examples.add()
    LIMITS.check_examples(long)
    # All lists of a feature are filled up to the longest: 5 x 500 strings of 24 bytes.
    short.features.feature["x"].bytes_list.value.extend([b""] * 500)
    with pytest.raises(RequestTooLargeError, match="would take 60120 bytes, more than 10000"):
        LIMITS.check_examples(long)
    # Numbers take 8: 5 x (24 + 8 x 246) are 9,960.
    short.features.feature["x"].float_list.value.extend([0.5] * 246)
    LIMITS.check_examples(long)
    short.features.feature["x"].float_list.value.extend([0.5] * 2)
    with pytest.raises(RequestTooLargeError, match="would take 10040 bytes"):
        LIMITS.check_examples(long)
    for _ in range(101):
        message.example_list.examples.add()
    with pytest.raises(RequestTooLargeError, match="examples: 101 rows"):
        LIMITS.check_examples(message)
