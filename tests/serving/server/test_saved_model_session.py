from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from serving.server.servable import SavedModelSession
from tests.serving.server.numbered_model import put_numbered_model
from tests.serving.toy_ranker import toy_arrays, toy_base_path, toy_row_scores, toy_rows


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


def test_many_threads_get_their_own_answers(session: SavedModelSession) -> None:
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
