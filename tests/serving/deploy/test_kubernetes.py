from __future__ import annotations

from typing import Any

import pytest

from serving.deploy.kubernetes import kubernetes_files
from serving.deploy.model_server import config_files
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN
from tests.serving.deploy.schemas import documents_of, require_kubernetes_object


def objects_of(deployment: Deployment) -> list[dict[str, Any]]:
    return [
        document
        for name, text in kubernetes_files(deployment).items()
        if name != "kustomization.yaml"
        for document in documents_of(text)
    ]


def kind(deployment: Deployment, name: str) -> list[dict[str, Any]]:
    return [document for document in objects_of(deployment) if document["kind"] == name]


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_every_manifest_fits_kubernetes(deployment: Deployment) -> None:
    objects = objects_of(deployment)
    assert len(objects) >= 5
    for document in objects:
        require_kubernetes_object(document)


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_kustomization_applies_every_manifest(deployment: Deployment) -> None:
    files = kubernetes_files(deployment)
    (document,) = documents_of(files["kustomization.yaml"])
    assert document.keys() == {"apiVersion", "kind", "resources"}
    assert {*document["resources"], "kustomization.yaml"} == set(files)


def test_which_objects_are_rendered() -> None:
    always = {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
    kinds = {
        name: {document["kind"] for document in objects_of(deployment)}
        for name, deployment in DEPLOYMENTS.items()
    }
    assert kinds == {
        "plain": always | {"PersistentVolumeClaim", "HorizontalPodAutoscaler"},
        "full": always | {"PersistentVolumeClaim", "Namespace"},
        "in_a_bucket": always | {"HorizontalPodAutoscaler"},
    }


def test_an_existing_claim_is_not_rendered() -> None:
    deployment = Deployment.model_validate(
        {"model_name": "movies", "stable": 1, "storage": {"create_claim": False}}
    )
    assert kind(deployment, "PersistentVolumeClaim") == []


def test_all_objects_are_in_the_namespace() -> None:
    namespaced = [document for document in objects_of(FULL) if document["kind"] != "Namespace"]
    assert {document["metadata"]["namespace"] for document in namespaced} == {"ranking"}
    assert all("namespace" not in document["metadata"] for document in objects_of(PLAIN))


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_objects_find_each_other(deployment: Deployment) -> None:
    (workload,) = kind(deployment, "Deployment")
    pod = workload["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}
    for service in kind(deployment, "Service"):
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    (budget,) = kind(deployment, "PodDisruptionBudget")
    assert budget["spec"]["selector"] == workload["spec"]["selector"]
    (config_map,) = kind(deployment, "ConfigMap")
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == config_map["metadata"]["name"]
    for claim in kind(deployment, "PersistentVolumeClaim"):
        named = volumes["models"]["persistentVolumeClaim"]["claimName"]
        assert named == claim["metadata"]["name"]
    for autoscaler in kind(deployment, "HorizontalPodAutoscaler"):
        assert autoscaler["spec"]["scaleTargetRef"] == {
            "apiVersion": workload["apiVersion"],
            "kind": "Deployment",
            "name": workload["metadata"]["name"],
        }


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_config_map_holds_the_servers_files(deployment: Deployment) -> None:
    (config_map,) = kind(deployment, "ConfigMap")
    assert config_map["data"] == config_files(deployment)


def test_grpc_clients_can_resolve_the_replicas() -> None:
    balanced, headless = kind(PLAIN, "Service")
    assert "clusterIP" not in balanced["spec"]
    assert headless["spec"]["clusterIP"] == "None"
    assert [port["port"] for port in headless["spec"]["ports"]] == [8500]


def test_the_limits_of_autoscaling() -> None:
    (autoscaler,) = kind(IN_A_BUCKET, "HorizontalPodAutoscaler")
    specification = autoscaler["spec"]
    assert (specification["minReplicas"], specification["maxReplicas"]) == (2, 6)
    (metric,) = specification["metrics"]
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
    assert specification["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_the_claim() -> None:
    (claim,) = kind(FULL, "PersistentVolumeClaim")
    assert claim["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "20Gi"}},
    }
