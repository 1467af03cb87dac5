from __future__ import annotations

import pytest
from pydantic import BaseModel

from serving.deploy.platform_settings import (
    Autoscaling,
    Compose,
    KServe,
    Kubernetes,
    Monitoring,
    require_pinned,
)
from tests.configs.refusals import assert_refused


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
        (Autoscaling, {"target_cpu_percent": 100}),
        (Autoscaling, {"scale_down_seconds": 4000}),
        (KServe, {"storage_uri": "/models"}),
        (KServe, {"canary_traffic_percent": 101}),
        (Compose, {"prometheus_image": "prom/prometheus"}),
        (Compose, {"grafana_image": "registry.example.com:5000/grafana"}),
        (Compose, {"model_folder": "${HOME}/models"}),
        (Monitoring, {"path": "metrics"}),
        (Monitoring, {"scrape_seconds": 0}),
    ],
)
def test_wrong_values_are_refused(section: type[BaseModel], values: dict[str, object]) -> None:
    assert_refused(section, values)


def test_an_image_of_a_registry_with_a_port_is_pinned_by_its_tag() -> None:
    image = "registry.example.com:5000/grafana:12.1.1"
    assert Compose(grafana_image=image).grafana_image == image
