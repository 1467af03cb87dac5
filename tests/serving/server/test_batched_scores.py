"""The toy ranker scores the same with batching as without."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from serving.server.batching import Batching, BatchingParameters
from serving.server.errors import RequestError
from serving.server.metrics import metrics_text
from serving.server.servable import Servable
from tests.serving.server.waiting import wait_until
from tests.serving.toy_ranker import (
    toy_arrays,
    toy_base_path,
    toy_examples,
    toy_row_scores,
    toy_rows,
)

LONG = 60_000_000


@pytest.fixture(params=[False, True], ids=["exact", "padded"])
def servable(request: pytest.FixtureRequest) -> Iterator[Servable]:
    batching = Batching(
        BatchingParameters(
            max_batch_size=4,
            allowed_batch_sizes=(2, 4),
            batch_timeout_micros=2000,
            pad_variable_length_inputs=request.param,
            thread_pool_name=f"scores-{request.param}",
        )
    )
    servable = Servable("toy", 3, toy_base_path() / "3")
    servable.merge_requests(batching)
    yield servable
    batching.stop()


def single_rows() -> list[dict[str, np.ndarray]]:
    """Three requests of one row each; the histories have 2, 1 and 3 entries."""
    rows = [
        {name: values[row : row + 1] for name, values in toy_rows().items()} for row in range(3)
    ]
    for row, length in zip(rows, (2, 1, 3), strict=True):
        for name, filling in (("history_item_id", ""), ("history_rating", 0.0)):
            row[name] = [(row[name][0] + [filling])[:length]]
    return [toy_arrays(row) for row in rows]


def test_rows_of_many_requests_score_as_alone(servable: Servable) -> None:
    requests = single_rows() * 20
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: servable.run("serving_default", one), requests))
    scores = np.concatenate([answer["score"] for answer in answers])
    np.testing.assert_allclose(scores, toy_row_scores() * 20, rtol=1e-6)


def test_examples_of_many_requests_score_as_alone(servable: Servable) -> None:
    serialized = [one.SerializeToString() for one in toy_examples()] * 10
    requests = [{"examples": np.array([one], dtype=object)} for one in serialized]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: servable.run("predict_examples", one), requests))
    scores = np.concatenate([answer["score"] for answer in answers])
    np.testing.assert_allclose(scores, toy_row_scores() * 10, rtol=1e-6)


def test_rank_runs_alone(servable: Servable) -> None:
    one_user = single_rows()[0] | {"item_id": np.array(["a"] * 9, dtype=object)}
    scores = servable.run("rank", one_user)["score"]
    np.testing.assert_allclose(scores, [toy_row_scores()[0]] * 9, rtol=1e-6)


def test_padding_lets_histories_of_different_lengths_meet() -> None:
    batching = Batching(
        BatchingParameters(
            max_batch_size=3,
            batch_timeout_micros=LONG,
            pad_variable_length_inputs=True,
            thread_pool_name="meeting",
        )
    )
    servable = Servable("toy", 3, toy_base_path() / "3")
    servable.merge_requests(batching)
    # The batch runs only when all three are in it.
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda one: servable.run("serving_default", one), single_rows()))
    batching.stop()
    scores = np.concatenate([answer["score"] for answer in answers])
    np.testing.assert_allclose(scores, toy_row_scores(), rtol=1e-6)
    assert 'queuing_latency_count{thread_pool_name="meeting"} 3.0' in metrics_text().decode()


def test_an_output_filter_does_not_keep_requests_apart() -> None:
    batching = Batching(BatchingParameters(max_batch_size=2, batch_timeout_micros=LONG))
    servable = Servable("toy", 3, toy_base_path() / "3")
    servable.merge_requests(batching)
    inputs = {"text_bytes": np.array(["a"]), "numbers": np.array([[1, 2]])}
    with ThreadPoolExecutor(2) as pool:
        filtered = pool.submit(servable.run, "echo", inputs, ["doubled"])
        everything = pool.submit(servable.run, "echo", inputs)
    batching.stop()
    assert filtered.result().keys() == {"doubled"}
    assert everything.result().keys() == {"doubled", "text_bytes"}
    assert filtered.result()["doubled"].tolist() == [[2, 4]]


def test_idle_batch_threads_do_not_keep_a_servable() -> None:
    batching = Batching(BatchingParameters(batch_timeout_micros=0))
    servable = Servable("toy", 3, toy_base_path() / "3")
    servable.merge_requests(batching)
    for request in single_rows():
        servable.run("serving_default", request)
    with contextlib.suppress(RequestError):
        servable.run("predict_examples", {"examples": np.array([b"\xff\xff"], dtype=object)})
    kept = weakref.ref(servable)
    del servable
    wait_until(lambda: kept() is None)
    batching.stop()
