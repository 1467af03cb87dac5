from __future__ import annotations

from typing import Any

import pytest

from serving.deploy.settings import Deployment
from serving.deploy.workload import deployment_object, deployment_yaml
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN
from tests.serving.deploy.schemas import documents_of, require_kubernetes_object


def pod_of(deployment: Deployment) -> dict[str, Any]:
    (document,) = documents_of(deployment_yaml(deployment))
    return document["spec"]["template"]["spec"]


def container_of(deployment: Deployment) -> dict[str, Any]:
    (container,) = pod_of(deployment)["containers"]
    return container


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_deployment_fits_kubernetes(deployment: Deployment) -> None:
    require_kubernetes_object(deployment_object(deployment))


def test_an_unknown_field_would_be_noticed() -> None:
    document = deployment_object(PLAIN) | {"sepc": {}}
    with pytest.raises(Exception, match="sepc"):
        require_kubernetes_object(document)


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_selector_finds_the_replicas(deployment: Deployment) -> None:
    (document,) = documents_of(deployment_yaml(deployment))
    template = document["spec"]["template"]
    assert (
        document["spec"]["selector"]["matchLabels"].items()
        <= template["metadata"]["labels"].items()
    )


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
    assert deployment_object(deployment)["spec"]["progressDeadlineSeconds"] > seconds  # type: ignore[index]


def test_a_rollout_never_has_fewer_replicas() -> None:
    (document,) = documents_of(deployment_yaml(PLAIN))
    rolling = document["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


def test_replicas_are_the_autoscalers_business_where_there_is_one() -> None:
    assert "replicas" not in deployment_object(PLAIN)["spec"]  # type: ignore[operator]
    assert deployment_object(FULL)["spec"]["replicas"] == 3  # type: ignore[index]


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
        (document,) = documents_of(deployment_yaml(Deployment.model_validate(values)))
        return document["spec"]["template"]["metadata"]["annotations"]

    assert annotations() == annotations(canary=2) == annotations(stable=2)
    assert annotations() != annotations(batching={"batch_timeout_micros": 5})
    assert annotations() != annotations(monitoring={"path": "/metrics"})
