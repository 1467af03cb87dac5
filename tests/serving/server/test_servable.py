from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from serving.server.errors import RequestError
from serving.server.servable import Servable
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


def test_many_threads_get_their_own_answers(servable: Servable) -> None:
    def doubled(number: int) -> list[list[int]]:
        inputs = {"text_bytes": np.array([str(number)]), "numbers": np.array([[number, -number]])}
        return servable.run("echo", inputs, ["doubled"])["doubled"].tolist()

    numbers = range(200)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(doubled, numbers))
    assert answers == [[[2 * number, -2 * number]] for number in numbers]


def test_numpy_oracle_by_hand() -> None:
    logit = 0.3 * 1 - 0.2 * 2 + 0.05 * 8.5 + 0.5 * 0.5 - 0.1 * 4.25 + 0.2 * 1.1 - 0.125
    assert math.isclose(toy_row_scores()[0], 1 / (1 + math.exp(-logit)))
