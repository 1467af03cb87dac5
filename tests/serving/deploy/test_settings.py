from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from configs.loading import described_keys
from serving.deploy.settings import (
    Alerts,
    Autoscaling,
    Batching,
    CanaryTrack,
    Compose,
    Deployment,
    KServe,
    Kubernetes,
    Monitoring,
    Resources,
    Server,
    Storage,
    require_pinned,
)
from tests.configs.refusals import assert_refused
from tests.serving.deploy.deployments import DIGEST, FULL, PLAIN, TWO_TRACKS


def test_every_key_is_described() -> None:
    descriptions = described_keys(Deployment)
    assert len(descriptions) > 50
    assert [key for key, description in descriptions.items() if not description] == []


def test_the_page_names_keys_that_exist(repository_root: Path) -> None:
    keys = set(described_keys(Deployment))
    sections = {key.partition(".")[0] for key in keys if "." in key}
    page = (repository_root / "docs/deployment.md").read_text(encoding="utf-8")
    named = re.findall(r"\b([a-z_]+)\.([a-z_]+)\b", " ".join(re.findall(r"`([^`]+)`", page)))
    actual = {
        f"{section}.{key}"
        for section, key in named
        if section in sections and key not in {"yaml", "config", "io"}
    }
    assert len(actual) > 15
    assert actual <= keys


def test_labels_and_loaded_versions() -> None:
    assert PLAIN.labels == {"stable": 1}
    assert PLAIN.loaded_versions == (1,)
    assert FULL.labels == {"stable": 3, "canary": 4}
    assert FULL.loaded_versions == (2, 3, 4)
    promoted = Deployment(model_name="movies", stable=4, canary=4, also_loaded=(3, 4))
    assert promoted.loaded_versions == (3, 4)


@pytest.mark.parametrize(
    ("model_name", "object_name"),
    [
        ("movies", "movies-serving"),
        ("Movies_v2", "movies-v2-serving"),
        ("_", "model-serving"),
        ("2024_movies", "model-2024-movies-serving"),
        ("1" * 36, f"model-{'1' * 36}-serving"),
        ("1" * 40, f"m-{'1' * 40}-serving"),
        ("a" * 40, f"{'a' * 40}-serving"),
    ],
)
def test_objects_are_named_after_the_model(model_name: str, object_name: str) -> None:
    assert Deployment(model_name=model_name, stable=1).object_name == object_name
    # A Job and its pods' label have the longest name.
    assert len(f"{object_name}-load-0a1b2c") <= 63


def test_every_version_of_both_tracks_must_be_there() -> None:
    assert PLAIN.fetched_versions == (1,)
    assert FULL.fetched_versions == (2, 3, 4)
    assert TWO_TRACKS.fetched_versions == (1, 2)
    assert TWO_TRACKS.loaded_versions == (1,)


def test_a_given_name_wins() -> None:
    assert FULL.object_name == "rank-movies"


@pytest.mark.parametrize(
    "values",
    [
        {"stable": 0},
        {"canary": -1},
        {"also_loaded": [0]},
        {"stable": 2**63},
        {"canary": 2**63},
        {"also_loaded": [2**63]},
        {"canary_track": {"version": 2**63}},
        {"tag": "latest"},
        {"model_name": "a/b"},
        {"model_name": "a b"},
        {"image": "tensorflow/serving latest"},
        {"image": "tensorflow/serving@sha256:0123"},
        {"name": "Movies"},
        {"replicas": 3},
    ],
)
def test_wrong_values_are_refused(values: dict[str, object]) -> None:
    needed = {"model_name": "movies", "stable": 1}
    with pytest.raises(ValidationError) as raised:
        Deployment.model_validate(needed | values)
    (key,) = values
    assert [problem["loc"][0] for problem in raised.value.errors()] == [key]


def test_what_has_no_default_must_be_given() -> None:
    with pytest.raises(ValidationError) as raised:
        Deployment.model_validate({})
    assert {problem["loc"][0] for problem in raised.value.errors()} == {"model_name", "stable"}


def test_autoscaling_must_leave_the_replicas() -> None:
    values = {"model_name": "movies", "stable": 1, "kubernetes": {"replicas": 7}}
    with pytest.raises(ValidationError, match=r"max_replicas \(6\) is below .*replicas \(7\)"):
        Deployment.model_validate(values)
    Deployment.model_validate(values | {"autoscaling": {"enabled": False}})


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
    "values",
    [
        {"storage_class": 'fast"'},
        {"size": "20"},
        {"size": "20GB"},
        {"claim": "Models"},
        {"access_mode": "any"},
        {"source": "http://host/models"},
        {"source": "models"},
        {"source": "oci://registry/models:1/"},
        {"source_secret": "Keys"},
        {"rclone_image": "rclone/rclone"},
        {"oras_image": "ghcr.io/oras-project/oras:latest"},
    ],
)
def test_wrong_claims_are_refused(values: dict[str, object]) -> None:
    assert_refused(Storage, values)


def test_nothing_can_be_brought_to_a_volume_that_is_read_only() -> None:
    with pytest.raises(ValidationError, match="set storage.source=null"):
        Storage(access_mode="ReadOnlyMany")
    assert not Storage(access_mode="ReadOnlyMany", source=None).has_loader
    assert not Storage(access_mode="ReadOnlyMany", path="gs://bucket/movies").has_loader


@pytest.mark.parametrize(
    "values",
    [{"grpc_port": 0}, {"rest_port": 65536}, {"rest_timeout_in_ms": 0}, {"grpc_max_threads": 0}],
)
def test_wrong_flags_are_refused(values: dict[str, object]) -> None:
    assert_refused(Server, values)


def test_ports_must_differ() -> None:
    with pytest.raises(ValidationError, match="must differ"):
        Server(grpc_port=8501)


def test_a_limit_holds_the_request() -> None:
    assert Resources(cpu=2, cpu_limit=2).cpu_limit == 2
    with pytest.raises(ValidationError, match="at least resources.cpu"):
        Resources(cpu=2, cpu_limit=1)


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


@pytest.mark.parametrize("tag", ["2.21.0", "2.21.0-gpu", "v3.5.0", "12.1"])
def test_releases_are_pinned_tags(tag: str) -> None:
    assert require_pinned(tag) == tag


@pytest.mark.parametrize("tag", ["latest", "", "nightly", "2", "latest-gpu"])
def test_tags_that_move_are_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="name a release"):
        require_pinned(tag)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Kubernetes, {"namespace": "Ranking"}),
        (Kubernetes, {"replicas": 0}),
        (Kubernetes, {"startup_seconds": 1}),
        (Kubernetes, {"components": ["istio"]}),
        (Kubernetes, {"gateway_hostname": "https://host"}),
        (CanaryTrack, {"version": 0}),
        (CanaryTrack, {"traffic_percent": 101}),
        (Alerts, {"failed_percent": 0}),
        (Alerts, {"stale_days": 0}),
        (Autoscaling, {"target_cpu_percent": 100}),
        (Autoscaling, {"scale_down_seconds": 4000}),
        (KServe, {"storage_uri": "/models"}),
        (KServe, {"canary_traffic_percent": 101}),
        (Compose, {"prometheus_image": "prom/prometheus"}),
        (Compose, {"grafana_image": "registry.example.com:5000/grafana"}),
        (Compose, {"grafana_image": 'grafana/"grafana":12.1.1'}),
        (Compose, {"model_folder": "${HOME}/models"}),
        (Monitoring, {"path": "metrics"}),
        (Monitoring, {"scrape_seconds": 0}),
    ],
)
def test_wrong_values_of_platforms_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    assert_refused(section, values)


def test_an_image_of_a_registry_with_a_port_is_pinned_by_its_tag() -> None:
    image = "registry.example.com:5000/grafana:12.1.1"
    assert Compose(grafana_image=image).grafana_image == image


def test_a_digest_pins_an_image_by_itself() -> None:
    assert Compose(grafana_image=f"grafana/grafana@{DIGEST}").grafana_image.endswith(DIGEST)
    assert TWO_TRACKS.image_reference == f"tensorflow/serving@{DIGEST}"
    assert PLAIN.image_reference == "tensorflow/serving:2.21.0"
