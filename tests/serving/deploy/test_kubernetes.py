from __future__ import annotations

from typing import Any

import pytest

from serving.deploy.rendering import render
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN
from tests.serving.deploy.schemas import documents_of, require_kubernetes_object


def manifests_of(deployment: Deployment) -> dict[str, str]:
    return {
        path.removeprefix("kubernetes/"): text
        for path, text in render(deployment).items()
        if path.startswith("kubernetes/")
    }


def objects_of(deployment: Deployment) -> list[dict[str, Any]]:
    return [
        document
        for name, text in manifests_of(deployment).items()
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
    files = manifests_of(deployment)
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
    files = render(deployment)
    assert list(config_map["data"]) == ["models.config", "batching.config", "monitoring.config"]
    for name, text in config_map["data"].items():
        assert text == files[f"server/{name}"]


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


def workload_of(deployment: Deployment) -> dict[str, Any]:
    (document,) = kind(deployment, "Deployment")
    return document


def pod_of(deployment: Deployment) -> dict[str, Any]:
    return workload_of(deployment)["spec"]["template"]["spec"]


def container_of(deployment: Deployment) -> dict[str, Any]:
    (container,) = pod_of(deployment)["containers"]
    return container


def test_an_unknown_field_would_be_noticed() -> None:
    document = workload_of(PLAIN) | {"sepc": {}}
    with pytest.raises(Exception, match="sepc"):
        require_kubernetes_object(document)


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_selector_finds_the_replicas(deployment: Deployment) -> None:
    specification = workload_of(deployment)["spec"]
    labels = specification["template"]["metadata"]["labels"]
    assert specification["selector"]["matchLabels"].items() <= labels.items()


def test_started_and_ready_need_the_stable_version_and_alive_does_not() -> None:
    container = container_of(PLAIN)
    serving, any_state = "/v1/models/movies/labels/stable/metadata", "/v1/models/movies"
    assert container["startupProbe"]["httpGet"] == {"path": serving, "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": serving, "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": any_state, "port": "http"}
    assert {"name": "http", "containerPort": 8501} in container["ports"]


@pytest.mark.parametrize(("seconds", "failures"), [(300, 60), (301, 61), (10, 2)])
def test_a_replica_has_its_time_to_start(seconds: int, failures: int) -> None:
    deployment = Deployment.model_validate(
        {"model_name": "movies", "stable": 1, "kubernetes": {"startup_seconds": seconds}}
    )
    probe = container_of(deployment)["startupProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (5, failures)
    assert workload_of(deployment)["spec"]["progressDeadlineSeconds"] > seconds


def test_a_rollout_never_has_fewer_replicas() -> None:
    rolling = workload_of(PLAIN)["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


def test_replicas_are_the_autoscalers_business_where_there_is_one() -> None:
    assert "replicas" not in workload_of(PLAIN)["spec"]
    assert workload_of(FULL)["spec"]["replicas"] == 3


def test_a_replica_drains_before_it_ends() -> None:
    assert container_of(PLAIN)["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "10"]
    assert pod_of(PLAIN)["terminationGracePeriodSeconds"] > 10
    assert "lifecycle" not in container_of(FULL)


def test_resources() -> None:
    assert container_of(PLAIN)["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"memory": "4Gi"},
    }
    assert container_of(FULL)["resources"] == {
        "requests": {"cpu": "1500m", "memory": "1.5Gi"},
        "limits": {"cpu": "3", "memory": "1.5Gi"},
    }


def test_mounts_have_volumes_and_are_read_only() -> None:
    for deployment in DEPLOYMENTS.values():
        pod, (container,) = pod_of(deployment), pod_of(deployment)["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert [volume["name"] for volume in pod_of(IN_A_BUCKET)["volumes"]] == ["config"]


def test_the_token_of_a_service_account_is_there_only_where_one_is_named() -> None:
    assert pod_of(PLAIN)["automountServiceAccountToken"] is False
    assert pod_of(FULL)["serviceAccountName"] == "reader"
    assert "automountServiceAccountToken" not in pod_of(FULL)


def test_only_what_is_read_at_the_start_replaces_replicas() -> None:
    def annotations(**changes: object) -> dict[str, str]:
        values = {"model_name": "movies", "stable": 1} | changes
        document = workload_of(Deployment.model_validate(values))
        return document["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations(canary=2) == annotations(stable=2)
    assert annotations() != annotations(batching={"batch_timeout_micros": 5})
    assert annotations() != annotations(monitoring={"path": "/metrics"})
