"""The model as an InferenceService of KServe."""

from __future__ import annotations

from serving.deploy.documents import yaml_text
from serving.deploy.model_server import thread_flags
from serving.deploy.settings import Deployment
from serving.deploy.workload import container_resources, metadata


def inference_service_yaml(deployment: Deployment) -> str:
    """The file with the InferenceService."""
    return yaml_text(_header(deployment), inference_service(deployment))


def inference_service(deployment: Deployment) -> dict[str, object]:
    """The InferenceService, served by KServe's own TensorFlow Serving runtime."""
    kserve, resources = deployment.kserve, container_resources(deployment)
    canary = kserve.canary_traffic_percent
    scaling: dict[str, object] = {"minReplicas": deployment.kubernetes.replicas}
    if deployment.autoscaling.enabled:
        scaling |= {
            "maxReplicas": deployment.autoscaling.max_replicas,
            "scaleMetric": "cpu",
            "scaleTarget": deployment.autoscaling.target_cpu_percent,
        }
    account = deployment.kubernetes.service_account
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata(deployment, deployment.dns_model_name),
        "spec": {
            "predictor": {
                **scaling,
                **({} if canary is None else {"canaryTrafficPercent": canary}),
                **({} if account is None else {"serviceAccountName": account}),
                "model": {
                    "modelFormat": {"name": "tensorflow", "version": "2"},
                    "protocolVersion": "v1",
                    "runtimeVersion": deployment.tag,
                    "storageUri": storage_uri(deployment),
                    "args": [f"--{key}={value}" for key, value in thread_flags(deployment).items()],
                    # The runtime has a CPU limit of its own, which stands where none is given.
                    "resources": {
                        "requests": resources["requests"],
                        "limits": {"cpu": resources["requests"]["cpu"], **resources["limits"]},
                    },
                },
            }
        },
    }


def storage_uri(deployment: Deployment) -> str:
    """The base path as KServe names it."""
    if deployment.kserve.storage_uri is not None:
        return deployment.kserve.storage_uri
    storage = deployment.storage
    return f"pvc://{storage.claim}" if storage.is_mounted else storage.path


def _header(deployment: Deployment) -> str:
    return f"""\
The model on KServe, in the place of the manifests in ../kubernetes. Requests name the model \
'{deployment.dns_model_name}'.

KServe starts the server on one base path without models.config: the highest version in it is \
served, and there are no version labels. A canary is a base path of its own, for example \
gs://models/movies-4 with the one folder 4 in it: apply it with kserve.canary_traffic_percent=10, \
raise that, then leave it out. KServe splits traffic on Knative only."""
