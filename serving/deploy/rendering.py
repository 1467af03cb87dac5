"""The files of a deployment: the template folder, filled in from the settings.

The folder `template` holds plain manifests that are read and edited as they are; text and structure
stand there and nowhere else. Where deployments differ stands a placeholder: `<storage.path>` for a
key of the settings, or a name that `_placeholders` derives from them. A line is written once for
every value of its placeholder, and so left out where there is none.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from serving.deploy.settings import Deployment

SETTINGS_FILE = "settings.yaml"
"""Name of the file that holds all settings, given and default, beside what is rendered of them."""

TEMPLATE = Path(__file__).with_name("template")
"""The folder that is filled in; a rendered folder has its files under the same names."""

_PLACEHOLDER = re.compile(r"<([a-z][a-z0-9_./]*)>")
_OPTIONAL_FILES = {
    "kubernetes/namespace.yaml": "if_namespace",
    "kubernetes/persistentvolumeclaim.yaml": "if_claim",
    "kubernetes/horizontalpodautoscaler.yaml": "if_autoscaling",
}
_CONFIG_FILES = ("server/models.config", "server/batching.config", "server/monitoring.config")
_READ_AT_THE_START = _CONFIG_FILES[1:]
_PROBE_SECONDS = 5
_LONGEST_UID = 40
_MEBIBYTES = {"Mi": 1, "Gi": 1024, "Ti": 1024 * 1024}


def render(deployment: Deployment) -> dict[str, str]:
    """The files of a deployment.

    Args:
      deployment: the settings.

    Returns:
      Path relative to the folder -> text. Equal settings give equal texts.
    """
    values = _placeholders(deployment)
    # The ConfigMap holds the server's files again, and the Deployment a digest of them.
    config = {path: _filled_in(path, values) for path in _CONFIG_FILES}
    values |= {path: text.splitlines() for path, text in config.items()}
    start_files = {Path(path).name: config[path] for path in _READ_AT_THE_START}
    digest = hashlib.sha256(json.dumps(start_files, sort_keys=True).encode()).hexdigest()
    values["start_files_sha256"] = [digest]
    paths = (path.relative_to(TEMPLATE).as_posix() for path in TEMPLATE.rglob("[!.]*.*"))
    return {
        path: _filled_in(path, values)
        for path in sorted(paths)
        if path not in _OPTIONAL_FILES or values[_OPTIONAL_FILES[path]]
    }


def _filled_in(path: str, values: Mapping[str, Sequence[str]]) -> str:
    lines = []
    for line in (TEMPLATE / path).read_text(encoding="utf-8").splitlines():
        names = _PLACEHOLDER.findall(line)
        for texts in itertools.product(*(values[name] for name in names)):
            filled = line
            for name, text in zip(names, texts, strict=True):
                filled = filled.replace(f"<{name}>", text)
            lines.append(filled.rstrip())
    return "\n".join(lines) + "\n"


def _placeholders(deployment: Deployment) -> dict[str, Sequence[str]]:
    """The values of every placeholder, by name: none, one, or one for each line."""
    batching, kubernetes, storage = deployment.batching, deployment.kubernetes, deployment.storage
    server, resources, namespace = deployment.server, deployment.resources, kubernetes.namespace
    settings = deployment.model_dump(mode="json")
    threads = math.ceil(resources.cpu)
    address = f"pvc://{storage.claim}" if storage.is_mounted else storage.path
    values = _by_dotted_key(settings) | {
        "settings": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).splitlines(),
        "object_name": deployment.object_name,
        "dns_model_name": deployment.dns_model_name,
        "loaded_versions": deployment.loaded_versions,
        "server.rest_num_threads": server.rest_num_threads or 4 * threads,
        "server.grpc_max_threads": server.grpc_max_threads or 4 * threads,
        "server.intra_op_threads": server.intra_op_threads or threads,
        "server.inter_op_threads": server.inter_op_threads or threads,
        "batching.num_batch_threads": batching.num_batch_threads or threads,
        "resources.cpu": _cpu_quantity(resources.cpu),
        "resources.cpu_limit": _cpu_quantity(resources.cpu_limit),
        "kubernetes.progress_seconds": kubernetes.startup_seconds + 300,
        "kubernetes.startup_probes": math.ceil(kubernetes.startup_seconds / _PROBE_SECONDS),
        "kubernetes.termination_seconds": kubernetes.drain_seconds + 5,
        "kserve.storage_uri": deployment.kserve.storage_uri or address,
        "kserve.cpu_limit": _cpu_quantity(resources.cpu_limit or resources.cpu),
        "compose.cpus": None if resources.cpu_limit is None else f"{resources.cpu_limit:g}",
        "compose.mebibytes": _mebibytes(resources.memory),
        "dashboard_uid": deployment.object_name[:_LONGEST_UID],
        "labels_in_words": ", ".join(f"{name} = {at}" for name, at in deployment.labels.items()),
        "versions_in_words": ", ".join(map(str, deployment.loaded_versions)),
        "next_version": deployment.canary or deployment.stable + 1,
        "account_in_use": kubernetes.service_account or "default",
        "namespace_in_use": namespace or "default",
        "kubectl": "kubectl" if namespace is None else f"kubectl --namespace {namespace}",
    }
    conditions = {
        "autoscaling": deployment.autoscaling.enabled,
        "batch_sizes": bool(batching.allowed_batch_sizes),
        "batching": batching.enabled,
        "claim": storage.is_mounted and storage.create_claim,
        "draining": kubernetes.drain_seconds > 0,
        "mounted": storage.is_mounted,
        "namespace": namespace is not None,
        "padding": batching.pad_variable_length_inputs,
        "service_account": kubernetes.service_account is not None,
    }
    for name, holds in conditions.items():
        values |= {f"if_{name}": "" if holds else None, f"unless_{name}": None if holds else ""}
    return {name: _texts(value) for name, value in values.items()}


def _by_dotted_key(settings: Mapping[str, object]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            values |= {f"{key}.{name}": one for name, one in value.items()}
        else:
            values[key] = value
    return values


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def _cpu_quantity(cpus: float | None) -> str | None:
    """CPUs as Kubernetes writes them: "2", "500m"."""
    if cpus is None:
        return None
    return f"{cpus:g}" if cpus == int(cpus) else f"{round(cpus * 1000)}m"


def _mebibytes(quantity: str) -> int:
    """Whole mebibytes of a quantity such as "1.5Gi"."""
    return int(float(quantity[:-2]) * _MEBIBYTES[quantity[-2:]])
