"""The Kubernetes manifests: the Deployment, and what stands around it."""

from __future__ import annotations

from serving.deploy.documents import Document, yaml_text
from serving.deploy.model_server import config_files
from serving.deploy.settings import Deployment
from serving.deploy.workload import deployment_yaml, metadata, object_labels


def kubernetes_files(deployment: Deployment) -> dict[str, str]:
    """The manifests and a kustomization that applies them together, by name."""
    files = {}
    if deployment.kubernetes.namespace is not None:
        files["namespace.yaml"] = _namespace(deployment.kubernetes.namespace)
    files["configmap.yaml"] = _config_map(deployment)
    if deployment.storage.is_mounted and deployment.storage.create_claim:
        files["persistentvolumeclaim.yaml"] = _claim(deployment)
    files["deployment.yaml"] = deployment_yaml(deployment)
    files["service.yaml"] = _services(deployment)
    files["poddisruptionbudget.yaml"] = _disruption_budget(deployment)
    if deployment.autoscaling.enabled:
        files["horizontalpodautoscaler.yaml"] = _autoscaler(deployment)
    files["kustomization.yaml"] = yaml_text(
        "Applies all manifests together: kubectl apply -k kubernetes",
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": list(files),
        },
    )
    return files


def _namespace(name: str) -> str:
    return yaml_text(
        "The namespace of everything here.",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
    )


def _config_map(deployment: Deployment) -> str:
    return yaml_text(
        "The server's configuration files. Running replicas see a change of models.config within "
        "about a minute and read it at their next look.",
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(deployment, deployment.object_name),
            "data": config_files(deployment),
        },
    )


def _claim(deployment: Deployment) -> str:
    storage = deployment.storage
    storage_class = (
        {} if storage.storage_class is None else {"storageClassName": storage.storage_class}
    )
    return yaml_text(
        "The volume with the version folders 1, 2, ... in its root. Copy an export there under a "
        "name that is no number and rename it: the server must never find half a version.",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata(deployment, storage.claim),
            "spec": {
                "accessModes": [storage.access_mode],
                **storage_class,
                "resources": {"requests": {"storage": storage.size}},
            },
        },
    )


def _services(deployment: Deployment) -> str:
    server, name = deployment.server, deployment.object_name
    grpc = {"name": "grpc", "port": server.grpc_port, "targetPort": "grpc"}
    http = {"name": "http", "port": server.rest_port, "targetPort": "http"}
    return yaml_text(
        "Two ways to the replicas. The first spreads connections, which is right for REST. A gRPC "
        "client keeps one connection and would stay with one replica: let it resolve the second, "
        f"dns:///{name}-headless:{server.grpc_port}, and take turns (round_robin).",
        _service(deployment, name, {"ports": [grpc, http]}),
        _service(deployment, f"{name}-headless", {"clusterIP": "None", "ports": [grpc]}),
    )


def _service(deployment: Deployment, name: str, specification: Document) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(deployment, name),
        "spec": {**specification, "selector": object_labels(deployment)},
    }


def _disruption_budget(deployment: Deployment) -> str:
    return yaml_text(
        "Maintenance of nodes takes one replica at a time.",
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata(deployment, deployment.object_name),
            "spec": {
                "maxUnavailable": 1,
                "selector": {"matchLabels": object_labels(deployment)},
            },
        },
    )


def _autoscaler(deployment: Deployment) -> str:
    autoscaling = deployment.autoscaling
    return yaml_text(
        "Replicas follow the CPUs that ranking uses. With batching, CPUs may idle while requests "
        "wait: scale by request rate or latency then, which needs a metrics adapter.",
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata(deployment, deployment.object_name),
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": deployment.object_name,
                },
                "minReplicas": deployment.kubernetes.replicas,
                "maxReplicas": autoscaling.max_replicas,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {
                                "type": "Utilization",
                                "averageUtilization": autoscaling.target_cpu_percent,
                            },
                        },
                    }
                ],
                "behavior": {
                    "scaleDown": {
                        "stabilizationWindowSeconds": autoscaling.scale_down_seconds,
                        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                    }
                },
            },
        },
    )
