from __future__ import annotations

import pytest
from pydantic import ValidationError

from serving.deploy.server_settings import Resources, Server, Storage
from tests.configs.refusals import assert_refused


@pytest.mark.parametrize(
    ("path", "is_mounted"), [("/models/movies", True), ("gs://bucket/movies", False)]
)
def test_a_base_path_is_a_folder_or_an_address(path: str, is_mounted: bool) -> None:
    assert Storage(path=path).is_mounted is is_mounted


def test_s3_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(ValidationError, match="kserve.storage_uri"):
        Storage(path="s3://bucket/movies")


@pytest.mark.parametrize("path", ["models", "/models/a b", '/models/"', "http://host/models", ""])
def test_other_base_paths_are_refused(path: str) -> None:
    assert_refused(Storage, {"path": path})


@pytest.mark.parametrize(
    "values", [{"size": "20"}, {"size": "20GB"}, {"claim": "Models"}, {"access_mode": "any"}]
)
def test_wrong_claims_are_refused(values: dict[str, object]) -> None:
    assert_refused(Storage, values)


@pytest.mark.parametrize(
    "values",
    [{"grpc_port": 0}, {"rest_port": 65536}, {"rest_timeout_in_ms": 0}, {"grpc_max_threads": 0}],
)
def test_wrong_flags_are_refused(values: dict[str, object]) -> None:
    assert_refused(Server, values)


def test_ports_must_differ() -> None:
    with pytest.raises(ValidationError, match="must differ"):
        Server(grpc_port=8501)


@pytest.mark.parametrize(("cpu", "threads"), [(0.5, 1), (1.0, 1), (1.5, 2), (8.0, 8)])
def test_threads_are_the_cpus_rounded_up(cpu: float, threads: int) -> None:
    assert Resources(cpu=cpu).threads == threads


def test_a_limit_holds_the_request() -> None:
    assert Resources(cpu=2, cpu_limit=2).cpu_limit == 2
    with pytest.raises(ValidationError, match="at least resources.cpu"):
        Resources(cpu=2, cpu_limit=1)
