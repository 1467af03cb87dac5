from __future__ import annotations

import pytest
from google.protobuf import text_format
from pydantic import ValidationError

from serving.deploy.batching import Batching, batching_config
from tests.serving.deploy.protos import parse_batching


def test_the_file_is_read_as_batching_parameters() -> None:
    settings = Batching(
        max_batch_size=128,
        max_execution_batch_size=32,
        batch_timeout_micros=0,
        num_batch_threads=3,
        max_enqueued_batches=7,
    )
    parameters = parse_batching(batching_config(settings, cpu_threads=2))
    expected = (
        "max_batch_size { value: 128 } enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 32 } batch_timeout_micros { value: 0 } "
        "num_batch_threads { value: 3 } max_enqueued_batches { value: 7 } "
        'thread_pool_name { value: "ranking_batches" }'
    )
    assert parameters == parse_batching(expected)


def test_allowed_sizes_and_padding_are_written() -> None:
    settings = Batching(
        max_batch_size=64,
        max_execution_batch_size=64,
        allowed_batch_sizes=(8, 64),
        pad_variable_length_inputs=True,
    )
    text = batching_config(settings, cpu_threads=2)
    parameters = parse_batching(text)
    assert list(parameters.allowed_batch_sizes) == [8, 64]  # type: ignore[attr-defined]
    assert parameters.pad_variable_length_inputs  # type: ignore[attr-defined]
    assert "CAUTION" in text


def test_threads_are_the_cpus_when_left_out() -> None:
    parameters = parse_batching(batching_config(Batching(), cpu_threads=5))
    assert parameters.num_batch_threads.value == 5  # type: ignore[attr-defined]


def test_a_parameter_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(text_format.ParseError, match="max_batch_sise"):
        parse_batching("max_batch_sise { value: 1 }")


def test_every_parameter_is_explained_above_its_line() -> None:
    lines = batching_config(Batching(), cpu_threads=2).splitlines()
    for index, line in enumerate(lines):
        if line and not line.startswith("#"):
            assert lines[index - 1].startswith("# "), line
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(("enabled", "state"), [(True, "In use."), (False, "Not in use:")])
def test_the_file_says_whether_it_is_used(enabled: bool, state: str) -> None:
    assert state in batching_config(Batching(enabled=enabled), cpu_threads=2).splitlines()[0]


@pytest.mark.parametrize(
    ("switched_on", "advice"), [(False, "# Must stay false."), (True, "# CAUTION: switched on.")]
)
def test_the_file_says_what_the_servers_padding_does(switched_on: bool, advice: str) -> None:
    settings = Batching(pad_variable_length_inputs=switched_on)
    *_, last_paragraph = batching_config(settings, cpu_threads=2).split("\n\n")
    assert last_paragraph.startswith(advice)
    assert "repeat" in last_paragraph
    assert last_paragraph.endswith(f"pad_variable_length_inputs: {str(switched_on).lower()}\n")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_batch_size": 8}, "max_execution_batch_size must not exceed"),
        ({"allowed_batch_sizes": [64, 8]}, "must ascend"),
        ({"allowed_batch_sizes": [8, 8]}, "must ascend"),
        ({"allowed_batch_sizes": [0, 8]}, "must ascend"),
        ({"allowed_batch_sizes": [8, 64]}, "must be the same number"),
        ({"allowed_batch_sizes": [8, 256]}, "must be the same number"),
    ],
)
def test_sizes_that_the_server_would_refuse_are_refused(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Batching.model_validate(values)
