"""The Kubernetes Deployment of the server."""

from __future__ import annotations

import hashlib
import json
import math

from serving.deploy.documents import yaml_text
from serving.deploy.model_server import (
    CONFIG_FOLDER,
    PROGRAM,
    readiness_path,
    server_flags,
    start_files,
    status_path,
)
from serving.deploy.quantities import cpu_quantity
from serving.deploy.settings import Deployment

_PROBE_SECONDS = 5

_HEADER = """\
Replicas of TensorFlow Serving.

Started and ready mean that the stable version serves: its metadata is answered only once it is
loaded, whereas the model's status answers 200 while it still loads. Alive means only that the
server answers at all, so that no replica is ended because a version loads slowly or fails to.

A change of the image, a flag, batching.config or monitoring.config rolls through one replica at a
time, and a new one serves before an old one goes. A change of models.config starts nothing anew:
running servers read it."""


def deployment_yaml(deployment: Deployment) -> str:
    """The file with the Deployment."""
    return yaml_text(_HEADER, deployment_object(deployment))


def object_labels(deployment: Deployment) -> dict[str, str]:
    """Labels of every object, and what the replicas are selected by."""
    return {
        "app.kubernetes.io/name": deployment.object_name,
        "app.kubernetes.io/component": "model-server",
    }


def metadata(deployment: Deployment, name: str) -> dict[str, object]:
    """Metadata of an object."""
    namespace = deployment.kubernetes.namespace
    return {
        "name": name,
        **({} if namespace is None else {"namespace": namespace}),
        "labels": object_labels(deployment),
    }


def deployment_object(deployment: Deployment) -> dict[str, object]:
    """The Deployment."""
    kubernetes = deployment.kubernetes
    # Where the autoscaler decides, a number here would undo its decision with every change.
    replicas = {} if deployment.autoscaling.enabled else {"replicas": kubernetes.replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(deployment, deployment.object_name),
        "spec": {
            **replicas,
            "minReadySeconds": 10,
            "progressDeadlineSeconds": kubernetes.startup_seconds + 300,
            "revisionHistoryLimit": 3,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "selector": {"matchLabels": object_labels(deployment)},
            "template": {
                "metadata": {
                    "labels": object_labels(deployment),
                    "annotations": {
                        "start-files-sha256": _digest(start_files(deployment)),
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(deployment.server.rest_port),
                        "prometheus.io/path": deployment.monitoring.path,
                    },
                },
                "spec": _pod(deployment),
            },
        },
    }


def _pod(deployment: Deployment) -> dict[str, object]:
    kubernetes, storage = deployment.kubernetes, deployment.storage
    account: dict[str, object] = {"automountServiceAccountToken": False}
    if kubernetes.service_account is not None:
        account = {"serviceAccountName": kubernetes.service_account}
    volumes: list[dict[str, object]] = [
        {"name": "config", "configMap": {"name": deployment.object_name}}
    ]
    if storage.is_mounted:
        claim = {"claimName": storage.claim, "readOnly": True}
        volumes.append({"name": "models", "persistentVolumeClaim": claim})
    selector = {"matchLabels": object_labels(deployment)}
    return {
        **account,
        "terminationGracePeriodSeconds": kubernetes.drain_seconds + 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": selector,
                        },
                    }
                ]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": selector,
            }
        ],
        "containers": [_container(deployment)],
        "volumes": volumes,
    }


def _container(deployment: Deployment) -> dict[str, object]:
    server, drain = deployment.server, deployment.kubernetes.drain_seconds
    mounts = [{"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True}]
    if deployment.storage.is_mounted:
        mounts.append({"name": "models", "mountPath": deployment.storage.path, "readOnly": True})
    ready = {"httpGet": {"path": readiness_path(deployment), "port": "http"}, "timeoutSeconds": 2}
    # Addresses are taken out of use while a replica ends, not before; until then it must serve.
    lifecycle = {"lifecycle": {"preStop": {"exec": {"command": ["sleep", str(drain)]}}}}
    return {
        "name": "tensorflow-serving",
        "image": deployment.full_image,
        "command": [PROGRAM],
        "args": server_flags(deployment),
        "ports": [
            {"name": "grpc", "containerPort": server.grpc_port},
            {"name": "http", "containerPort": server.rest_port},
        ],
        "startupProbe": {
            **ready,
            "periodSeconds": _PROBE_SECONDS,
            "failureThreshold": math.ceil(deployment.kubernetes.startup_seconds / _PROBE_SECONDS),
        },
        "readinessProbe": {**ready, "periodSeconds": _PROBE_SECONDS, "failureThreshold": 3},
        "livenessProbe": {
            "httpGet": {"path": status_path(deployment), "port": "http"},
            "timeoutSeconds": 5,
            "periodSeconds": 20,
            "failureThreshold": 6,
        },
        **(lifecycle if drain else {}),
        "resources": container_resources(deployment),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def container_resources(deployment: Deployment) -> dict[str, dict[str, str]]:
    """Requests and limits of a replica."""
    resources = deployment.resources
    limits = {"memory": resources.memory}
    if resources.cpu_limit is not None:
        limits = {"cpu": cpu_quantity(resources.cpu_limit), **limits}
    return {
        "requests": {"cpu": cpu_quantity(resources.cpu), "memory": resources.memory},
        "limits": limits,
    }


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
