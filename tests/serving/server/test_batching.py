from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.server.batching import Batching, BatchingParameters
from serving.server.errors import RequestError, invalid

LONG = 60_000_000


class Doubler:
    """Doubles rows; a negative number fails the whole run. Keeps the sizes of its runs."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.sizes.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise invalid("negative")
        return {"y": inputs["x"] * 2}


@pytest.fixture
def make() -> Iterator:
    made = []

    def batching(**values) -> Batching:
        made.append(Batching(BatchingParameters(**values)))
        return made[-1]

    yield batching
    for one in made:
        one.stop()


def numbers(*values: int) -> dict[str, np.ndarray]:
    return {"x": np.array(values)}


def together(batching: Batching, execute: Doubler, requests: list[dict]) -> list:
    """Sends requests at once; each answer's y, or the error's message."""

    def send(inputs: dict) -> object:
        try:
            return batching.run("key", execute, inputs)["y"].tolist()
        except RequestError as error:
            return error.message

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


def test_requests_run_together_and_get_their_own_rows(make) -> None:
    execute = Doubler()
    batching = make(max_batch_size=4, batch_timeout_micros=LONG)
    requests = [numbers(1), numbers(2, 3), numbers(4)]
    assert together(batching, execute, requests) == [[2], [4, 6], [8]]
    assert execute.sizes == [4]


def test_batches_are_filled_up_to_an_allowed_size(make) -> None:
    execute = Doubler()
    batching = make(max_batch_size=4, allowed_batch_sizes=(2, 4))
    assert together(batching, execute, [numbers(5, 6, 7)]) == [[10, 12, 14]]
    assert execute.sizes == [4]


def test_one_bad_request_fails_alone(make) -> None:
    execute = Doubler()
    batching = make(max_batch_size=3, batch_timeout_micros=LONG)
    answers = together(batching, execute, [numbers(1), numbers(-1), numbers(3)])
    assert answers == [[2], "negative", [6]]
    assert execute.sizes == [3, 1, 1, 1]


def test_a_request_beyond_the_largest_size_is_refused(make) -> None:
    execute = Doubler()
    batching = make(max_batch_size=2)
    (answer,) = together(batching, execute, [numbers(1, 2, 3)])
    assert answer == "Task size 3 is larger than maximum input batch size 2"
    assert execute.sizes == []


def test_a_large_request_is_split_where_that_is_allowed(make) -> None:
    execute = Doubler()
    batching = make(
        max_batch_size=10,
        max_execution_batch_size=2,
        enable_large_batch_splitting=True,
        num_batch_threads=1,
    )
    assert together(batching, execute, [numbers(1, 2, 3, 4, 5)]) == [[2, 4, 6, 8, 10]]
    assert execute.sizes == [2, 2, 1]


def test_requests_of_different_shapes_meet_only_when_they_are_filled_up(make) -> None:
    def sums(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes.append(inputs["x"].shape)
        return {"y": inputs["x"].sum(axis=1)}

    requests = [{"x": np.array([[1, 2, 3]])}, {"x": np.array([[4]])}]
    sizes: list[tuple[int, ...]] = []
    padding = make(max_batch_size=2, batch_timeout_micros=LONG, pad_variable_length_inputs=True)
    assert together(padding, sums, requests) == [[6], [4]]  # type: ignore[arg-type]
    assert sizes == [(2, 3)]
    sizes.clear()
    apart = make(max_batch_size=2, batch_timeout_micros=1000)
    assert together(apart, sums, requests) == [[6], [4]]  # type: ignore[arg-type]
    assert sorted(sizes) == [(1, 1), (1, 3)]


def test_inputs_of_different_rows_run_alone(make) -> None:
    batching = make(max_batch_size=4, batch_timeout_micros=LONG)
    inputs = {"x": np.array([1, 2]), "z": np.array([1])}
    answer = batching.run("key", lambda arrays: {"y": arrays["x"] + arrays["z"]}, inputs)
    assert answer["y"].tolist() == [2, 3]
