from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.deploy.rendering import render, write_files
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import (
    DEPLOYMENTS,
    DIGEST,
    FULL,
    IN_A_BUCKET,
    PLAIN,
    TWO_TRACKS,
)
from tests.serving.deploy.schemas import (
    documents_of,
    require_custom_resource,
    require_kubernetes_object,
)

COMPONENTS = ("gateway", "monitoring", "network-policy", "small-cluster")


def manifests_of(deployment: Deployment) -> dict[str, str]:
    return {
        path.removeprefix("kubernetes/"): text
        for path, text in render(deployment).items()
        if path.startswith("kubernetes/") and "/components/" not in path
    }


def component_of(deployment: Deployment, name: str) -> dict[str, str]:
    folder = f"kubernetes/components/{name}/"
    return {
        path.removeprefix(folder): text
        for path, text in render(deployment).items()
        if path.startswith(folder)
    }


def resources_of(component: dict[str, str]) -> list[dict[str, Any]]:
    return [
        document
        for name, text in component.items()
        if name != "kustomization.yaml"
        for document in documents_of(text)
    ]


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
    assert document.keys() - {"components"} == {"apiVersion", "kind", "resources"}
    assert {*document["resources"], "kustomization.yaml"} == set(files)
    named = [f"components/{name}" for name in deployment.kubernetes.components]
    assert document.get("components", []) == named


def test_which_objects_are_rendered() -> None:
    always = {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
    loaded = always | {"Job", "PersistentVolumeClaim"}
    kinds = {
        name: {document["kind"] for document in objects_of(deployment)}
        for name, deployment in DEPLOYMENTS.items()
    }
    assert kinds == {
        "plain": loaded | {"HorizontalPodAutoscaler"},
        "full": loaded | {"Namespace"},
        "in_a_bucket": always | {"HorizontalPodAutoscaler"},
        "two_tracks": loaded | {"HorizontalPodAutoscaler"},
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
    stable = workload_of(deployment)
    for workload in kind(deployment, "Deployment"):
        pod = workload["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        ports = {port["name"] for port in container["ports"]}
        for service in kind(deployment, "Service"):
            assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        (config_map,) = [
            document
            for document in kind(deployment, "ConfigMap")
            if document["metadata"]["name"] == volumes["config"]["configMap"]["name"]
        ]
        assert config_map["metadata"]["name"] == workload["metadata"]["name"]
        for claim in kind(deployment, "PersistentVolumeClaim"):
            named = volumes["models"]["persistentVolumeClaim"]["claimName"]
            assert named == claim["metadata"]["name"]
    (budget,) = kind(deployment, "PodDisruptionBudget")
    assert budget["spec"]["selector"] == stable["spec"]["selector"]
    for autoscaler in kind(deployment, "HorizontalPodAutoscaler"):
        assert autoscaler["spec"]["scaleTargetRef"] == {
            "apiVersion": stable["apiVersion"],
            "kind": "Deployment",
            "name": stable["metadata"]["name"],
        }


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_config_map_holds_the_servers_files(deployment: Deployment) -> None:
    config_map = kind(deployment, "ConfigMap")[-1]
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


def workload_of(deployment: Deployment, track: str = "stable") -> dict[str, Any]:
    (document,) = [
        one for one in kind(deployment, "Deployment") if one["metadata"]["labels"]["track"] == track
    ]
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
        writable = [one["name"] for one in container["volumeMounts"] if not one.get("readOnly")]
        assert writable == ["tmp"]
    assert [volume["name"] for volume in pod_of(IN_A_BUCKET)["volumes"]] == ["config", "tmp"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_no_container_has_more_rights_than_it_needs(deployment: Deployment) -> None:
    """What Kubernetes' standard for restricted pods asks for, and a read-only root."""
    workloads = [*kind(deployment, "Deployment"), *kind(deployment, "Job")]
    for workload in workloads:
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"].keys() >= {"memory"}
            assert re.search(r":v?[0-9]+\.[0-9]+|@sha256:", container["image"])


def test_an_image_may_be_named_by_its_digest() -> None:
    assert container_of(TWO_TRACKS)["image"] == f"tensorflow/serving@{DIGEST}"
    (waiting,) = pod_of(TWO_TRACKS)["initContainers"]
    assert waiting["image"] == container_of(TWO_TRACKS)["image"]
    assert container_of(FULL)["image"] == "registry.example.com/tensorflow/serving:2.21.0-gpu"


def test_the_second_track_is_a_deployment_with_one_version() -> None:
    stable, canary = workload_of(TWO_TRACKS), workload_of(TWO_TRACKS, "canary")
    assert canary["metadata"]["name"] == "movies-serving-canary"
    assert canary["spec"]["replicas"] == 3
    selectors = [one["spec"]["selector"]["matchLabels"] for one in (stable, canary)]
    for selector, other in (selectors, selectors[::-1]):
        assert not selector.items() <= other.items()
    configs = {
        one["metadata"]["labels"]["track"]: one["data"]["models.config"]
        for one in kind(TWO_TRACKS, "ConfigMap")
    }
    assert re.findall(r"versions: (\d+)", configs["canary"]) == ["2"]
    assert re.findall(r'key: "(\w+)" value: (\d+)', configs["canary"]) == [("stable", "2")]
    assert re.findall(r"versions: (\d+)", configs["stable"]) == ["1"]
    # Apart from that they are alike.
    (text,) = [
        text for name, text in manifests_of(TWO_TRACKS).items() if name == "canary-deployment.yaml"
    ]
    same = text.replace("serving-canary", "serving").replace("track: canary", "track: stable")
    alike = documents_of(same)[0]
    del alike["spec"]["replicas"]
    for one in (alike, stable):
        del one["spec"]["template"]["metadata"]["annotations"]["start-files-sha256"]
    assert alike == stable


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_is_whole(deployment: Deployment, name: str) -> None:
    files = component_of(deployment, name)
    document = yaml.safe_load(files["kustomization.yaml"])
    assert document["apiVersion"] == "kustomize.config.k8s.io/v1alpha1"
    assert document["kind"] == "Component"
    assert document.keys() <= {"apiVersion", "kind", "resources", "patches"}
    assert {*document.get("resources", ()), "kustomization.yaml"} == set(files)
    for one in resources_of(files):
        assert one["metadata"].get("namespace") == deployment.kubernetes.namespace
        if one["apiVersion"] in ("v1", "networking.k8s.io/v1"):
            require_kubernetes_object(one)
        else:
            require_custom_resource(one)


def test_every_component_can_be_asked_for() -> None:
    folders = {path.split("/")[2] for path in render(PLAIN) if "/components/" in path}
    assert folders == set(COMPONENTS)


def test_a_field_that_a_custom_resource_lacks_would_be_noticed() -> None:
    (monitor,) = documents_of(component_of(PLAIN, "monitoring")["podmonitor.yaml"])
    require_custom_resource(monitor)
    monitor["spec"]["podMetricsEndpoints"][0]["metricRelabelConfigs"] = []
    with pytest.raises(Exception, match="metricRelabelConfigs"):
        require_custom_resource(monitor)


def merged(document: Any, patch: Any) -> Any:
    """A strategic merge: maps by key, lists of named things by name, the rest replaced."""
    if isinstance(document, dict) and isinstance(patch, dict):
        return document | {key: merged(document.get(key), one) for key, one in patch.items()}
    if isinstance(document, list) and all("name" in one for one in patch):
        patches = {one["name"]: one for one in patch}
        assert patches.keys() <= {one["name"] for one in document}
        return [merged(one, patches.get(one["name"], {})) for one in document]
    return patch


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_patches_for_a_small_cluster_fit(deployment: Deployment) -> None:
    kustomization = yaml.safe_load(component_of(deployment, "small-cluster")["kustomization.yaml"])
    patches = {
        one["target"]["kind"]: yaml.safe_load(one["patch"]) for one in kustomization["patches"]
    }
    assert patches.keys() == {"Deployment", "HorizontalPodAutoscaler", "PersistentVolumeClaim"}
    assert patches["HorizontalPodAutoscaler"]["$patch"] == "delete"
    for name in ("Deployment", "PersistentVolumeClaim"):
        patches[name].pop("metadata")
        for document in kind(deployment, name):
            require_kubernetes_object(merged(document, patches[name]))
    small = merged(workload_of(deployment), patches["Deployment"])
    (container,) = small["spec"]["template"]["spec"]["containers"]
    assert small["spec"]["replicas"] == 1 and container["args"]
    assert container["resources"]["requests"] == {"cpu": "250m", "memory": "512Mi"}


def test_the_network_policy_is_about_the_servers_alone() -> None:
    (policy,) = documents_of(component_of(PLAIN, "network-policy")["networkpolicy.yaml"])
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    assert chosen.items() <= workload_of(PLAIN)["spec"]["template"]["metadata"]["labels"].items()
    (job,) = kind(PLAIN, "Job")
    assert not chosen.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert policy["spec"]["egress"] == []
    _, scraping = policy["spec"]["ingress"]
    (peer,) = scraping["from"]
    names = peer["namespaceSelector"]["matchLabels"]
    assert names == {"kubernetes.io/metadata.name": "monitoring"}
    (behind_a_gateway,) = documents_of(component_of(FULL, "network-policy")["networkpolicy.yaml"])
    asking = behind_a_gateway["spec"]["ingress"][0]["from"]
    names = asking[1]["namespaceSelector"]["matchLabels"]
    assert names == {"kubernetes.io/metadata.name": "gateways"} and asking[0] == {"podSelector": {}}
    assert policy["spec"]["ingress"][0]["from"] == [{"podSelector": {}}]
    (outside,) = documents_of(component_of(IN_A_BUCKET, "network-policy")["networkpolicy.yaml"])
    assert [one["port"] for one in outside["spec"]["egress"][0]["ports"]] == [53, 53, 443, 80]


def test_the_gateway_splits_by_weight() -> None:
    files = component_of(TWO_TRACKS, "gateway")
    services = {
        one["metadata"]["name"]: one["spec"] for one in documents_of(files["services.yaml"])
    }
    tracks = {name: one["selector"]["track"] for name, one in services.items()}
    assert tracks == {"movies-serving-stable": "stable", "movies-serving-canary": "canary"}
    for route in documents_of(files["routes.yaml"]):
        (rule,) = route["spec"]["rules"]
        weights = {tracks[one["name"]]: one["weight"] for one in rule["backendRefs"]}
        assert weights == {"stable": 80, "canary": 20}
        for one in rule["backendRefs"]:
            assert one["port"] in {port["port"] for port in services[one["name"]]["ports"]}
    for route in documents_of(component_of(FULL, "gateway")["routes.yaml"]):
        assert route["spec"]["parentRefs"] == [{"name": "edge", "namespace": "gateways"}]
        assert route["spec"]["hostnames"] == ["rank.example.com"]
        (rule,) = route["spec"]["rules"]
        assert [one["name"] for one in rule["backendRefs"]] == ["rank-movies-stable"]


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


def overlay_of_the_page(repository_root: Path) -> str:
    page = (repository_root / "docs/deployment.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return text


def test_the_overlay_of_the_page_fits_what_is_rendered(repository_root: Path) -> None:
    overlay = yaml.safe_load(overlay_of_the_page(repository_root))
    rendered = {f"../deploy/{path.rpartition('/')[0]}" for path in render(PLAIN)}
    assert {*overlay["resources"], *overlay["components"]} <= rendered
    (image,) = overlay["images"]
    assert image["name"] == PLAIN.image and re.fullmatch("sha256:[0-9a-f]{64}", image["digest"])
    (patch,) = overlay["patches"]
    workload = workload_of(PLAIN)
    assert patch["target"] == {"kind": "Deployment", "name": workload["metadata"]["name"]}
    for operation in yaml.safe_load(patch["patch"]):
        at: Any = workload
        *keys, last = operation["path"].strip("/").split("/")
        for key in keys:
            at = at[int(key) if isinstance(at, list) else key]
        assert operation["op"] == "replace" and last in at
        at[last] = operation["value"]
    require_kubernetes_object(workload)


needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")


def built(folder: Path) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would apply."""
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return documents_of(done.stdout)


@needs_kubectl
@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_kustomize_builds_all_components(deployment: Deployment, tmp_path: Path) -> None:
    kubernetes = deployment.kubernetes.model_copy(update={"components": COMPONENTS})
    write_files(tmp_path, render(deployment.model_copy(update={"kubernetes": kubernetes})))
    expected = {
        (one["kind"], one["metadata"]["name"])
        for one in objects_of(deployment)
        if one["kind"] != "HorizontalPodAutoscaler"
    } | {
        (one["kind"], one["metadata"]["name"])
        for name in COMPONENTS
        for one in resources_of(component_of(deployment, name))
    }
    objects = built(tmp_path / "kubernetes")
    assert {(one["kind"], one["metadata"]["name"]) for one in objects} == expected
    for one in objects:
        if one["kind"] == "Deployment":
            require_kubernetes_object(one)
            assert one["spec"]["replicas"] == 1


@needs_kubectl
def test_kustomize_builds_the_overlay_of_the_page(repository_root: Path, tmp_path: Path) -> None:
    write_files(tmp_path / "deploy", render(PLAIN))
    overlay = {"kustomization.yaml": overlay_of_the_page(repository_root)}
    write_files(tmp_path / "production", overlay)
    (workload,) = [one for one in built(tmp_path / "production") if one["kind"] == "Deployment"]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{PLAIN.image}@sha256:{'0' * 64}"
    assert container["resources"] == {
        "requests": {"cpu": "4", "memory": "4Gi"},
        "limits": {"memory": "8Gi"},
    }
