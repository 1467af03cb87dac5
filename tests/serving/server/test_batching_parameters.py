from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from configs.loading import ConfigurationError
from serving.deploy.rendering import render
from serving.deploy.settings import Batching, Deployment, Resources
from serving.server.batching import BatchingParameters, read_batching_parameters


def test_a_file_of_the_deployment_is_read(tmp_path: Path) -> None:
    path = tmp_path / "batching.config"
    settings = Batching(
        max_batch_size=64,
        max_execution_batch_size=64,
        batch_timeout_micros=500,
        max_enqueued_batches=7,
        allowed_batch_sizes=(16, 64),
        pad_variable_length_inputs=True,
    )
    deployment = Deployment(
        model_name="movies", stable=1, batching=settings, resources=Resources(cpu=3)
    )
    path.write_text(render(deployment)["server/batching.config"])
    assert read_batching_parameters(path) == BatchingParameters(
        max_batch_size=64,
        batch_timeout_micros=500,
        max_enqueued_batches=7,
        num_batch_threads=3,
        thread_pool_name="ranking_batches",
        allowed_batch_sizes=(16, 64),
        pad_variable_length_inputs=True,
        enable_large_batch_splitting=True,
        max_execution_batch_size=64,
    )


def test_an_empty_file_means_tensorflow_servings_defaults(tmp_path: Path) -> None:
    path = tmp_path / "batching.config"
    path.touch()
    parameters = read_batching_parameters(path)
    assert parameters == BatchingParameters()
    assert (parameters.max_batch_size, parameters.max_enqueued_batches) == (1000, 10)
    assert (parameters.batch_timeout_micros, parameters.thread_pool_name) == (0, "batch_threads")
    assert parameters.num_batch_threads >= 1


def test_batches_are_filled_up_to_the_next_allowed_size() -> None:
    parameters = BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert [parameters.filled_size(rows) for rows in (1, 2, 3, 8)] == [2, 2, 8, 8]
    assert BatchingParameters().filled_size(3) == 3


def test_the_execution_size_counts_only_where_requests_are_split() -> None:
    assert BatchingParameters(max_batch_size=8, max_execution_batch_size=4).batch_rows == 8
    split = BatchingParameters(
        max_batch_size=8, max_execution_batch_size=4, enable_large_batch_splitting=True
    )
    assert split.batch_rows == 4


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be at least 1"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be at least 0"),
        ({"num_batch_threads": 0}, "num_batch_threads must be at least 1"),
        ({"max_enqueued_batches": 0}, "max_enqueued_batches must be at least 1"),
        ({"max_batch_size": 4, "allowed_batch_sizes": (4, 2)}, "must ascend"),
        ({"max_batch_size": 4, "allowed_batch_sizes": (0, 4)}, "must ascend"),
        ({"max_batch_size": 4, "allowed_batch_sizes": (1, 2)}, "the last of allowed_batch_sizes"),
        (
            {
                "max_batch_size": 4,
                "max_execution_batch_size": 5,
                "enable_large_batch_splitting": True,
            },
            "max_execution_batch_size must not exceed",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        BatchingParameters(**values)


def test_a_wrong_value_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "batching.config"
    path.write_text("max_batch_size { value: 0 }")
    with pytest.raises(ConfigurationError, match="batching.config: max_batch_size"):
        read_batching_parameters(path)
