from __future__ import annotations

from typing import Any

import pytest

from serving.deploy.rendering import render
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN
from tests.serving.deploy.schemas import documents_of, require_kubernetes_object

# Fields of serving.kserve.io/v1beta1 (KServe 0.21, `kserve.models`) beside those of a pod and of a
# container, which both objects also take.
_PREDICTOR: dict[str, type] = {
    "minReplicas": int,
    "maxReplicas": int,
    "scaleMetric": str,
    "scaleTarget": int,
    "canaryTrafficPercent": int,
    "model": dict,
}
_MODEL: dict[str, type] = {
    "modelFormat": dict,
    "protocolVersion": str,
    "runtimeVersion": str,
    "storageUri": str,
}


def text_of(deployment: Deployment) -> str:
    return render(deployment)["kserve/inferenceservice.yaml"]


def predictor_of(deployment: Deployment) -> dict[str, Any]:
    (document,) = documents_of(text_of(deployment))
    assert document.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert (document["apiVersion"], document["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    assert document["spec"].keys() == {"predictor"}
    return document["spec"]["predictor"]


def without(fields: dict[str, type], section: dict[str, Any]) -> dict[str, Any]:
    for name, value in section.items():
        assert isinstance(value, fields.get(name, object)), name
    return {name: value for name, value in section.items() if name not in fields}


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_service_has_only_fields_of_kserve_and_of_pods(deployment: Deployment) -> None:
    predictor = predictor_of(deployment)
    container = without(_MODEL, predictor["model"]) | {"name": "kserve-container", "image": "i"}
    (document,) = documents_of(text_of(deployment))
    require_kubernetes_object(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": document["metadata"],
            "spec": without(_PREDICTOR, predictor) | {"containers": [container]},
        }
    )


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_runtime_is_that_of_the_tag(deployment: Deployment) -> None:
    model = predictor_of(deployment)["model"]
    assert model["runtimeVersion"] == deployment.tag
    assert model["modelFormat"] == {"name": "tensorflow", "version": "2"}
    assert model["protocolVersion"] == "v1"


@pytest.mark.parametrize(
    ("deployment", "address"),
    [
        (PLAIN, "pvc://models"),
        (IN_A_BUCKET, "gs://bucket/movies"),
        (FULL, "s3://bucket/movies-4"),
    ],
)
def test_where_the_versions_are(deployment: Deployment, address: str) -> None:
    assert predictor_of(deployment)["model"]["storageUri"] == address


def test_scaling_and_canary() -> None:
    plain, full = predictor_of(PLAIN), predictor_of(FULL)
    assert (plain["minReplicas"], plain["maxReplicas"]) == (2, 6)
    assert (plain["scaleMetric"], plain["scaleTarget"]) == ("cpu", 60)
    assert "canaryTrafficPercent" not in plain
    assert full["canaryTrafficPercent"] == 10
    assert full["minReplicas"] == 3
    assert "maxReplicas" not in full


def test_the_runtimes_own_cpu_limit_is_replaced() -> None:
    assert predictor_of(PLAIN)["model"]["resources"]["limits"] == {"cpu": "2", "memory": "4Gi"}
    assert predictor_of(FULL)["model"]["resources"]["limits"] == {"cpu": "3", "memory": "1.5Gi"}


def test_the_model_has_a_name_that_kubernetes_allows() -> None:
    (document,) = documents_of(text_of(FULL))
    assert document["metadata"]["name"] == "movies-v2"
    assert "'movies-v2'" in text_of(FULL)
