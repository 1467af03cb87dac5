"""The files of a deployment: the template folder, filled in from the settings.

The folder `template` holds plain manifests that are read and edited as they are; text and structure
stand there and nowhere else. Where deployments differ stands a placeholder: `<storage.path>` for a
key of the settings, or a name that `_placeholders` derives from them. A line is written once for
every value of its placeholder, and so left out where there is none, with all that is indented
below it.

From one rendering of a folder to the next: moves of labels, files written and removed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from configs.command_line import CommandError
from configs.files import replaced_when_complete
from configs.loading import load_section
from serving.deploy.settings import Deployment

SETTINGS_FILE = "settings.yaml"
"""Name of the file that holds all settings, given and default, beside what is rendered of them."""

TEMPLATE = Path(__file__).with_name("template")
"""The folder that is filled in; a rendered folder has its files under the same names."""

_PLACEHOLDER = re.compile(r"<([a-z][a-z0-9_./]*)>")
# A line, and the blank ones above it.
_LINE = re.compile(r"(\n*)(.+)\n")
_LOADER = "kubernetes/loader.yaml"
_OPTIONAL_FILES = {
    "kubernetes/namespace.yaml": "if_namespace",
    "kubernetes/persistentvolumeclaim.yaml": "if_claim",
    "kubernetes/horizontalpodautoscaler.yaml": "if_autoscaling",
    _LOADER: "if_loader",
}
# What a track has of its own.
_FILES_OF_A_TRACK = ("kubernetes/configmap.yaml", "kubernetes/deployment.yaml")
# Files that stand whole in manifests, too, whose placeholder is their path.
_CONFIG_FILES = ("server/models.config", "server/batching.config", "server/monitoring.config")
_INCLUDED_FILES = (*_CONFIG_FILES, "prometheus/alerts.yml", "grafana/dashboard.json")
_READ_AT_THE_START = _CONFIG_FILES[1:]
_PROBE_SECONDS = 5
_LONGEST_UID = 40
# Where the loader has the node's folder, out of the way of what its image has.
_MOUNTED_SOURCE = "/source"
_MEBIBYTES = {"Mi": 1, "Gi": 1024, "Ti": 1024 * 1024}
# By the scheme of an address: rclone's name of the service.
_RCLONE_SERVICES = {"gs": "gcs", "s3": "s3"}


def render(deployment: Deployment) -> dict[str, str]:
    """The files of a deployment.

    Args:
      deployment: the settings.

    Returns:
      Path relative to the folder -> text. Equal settings give equal texts.
    """
    values = _placeholders(deployment, "stable")
    paths = (path.relative_to(TEMPLATE).as_posix() for path in TEMPLATE.rglob("[!.]*.*"))
    files = {
        path: _filled_in(path, values)
        for path in paths
        if path not in _OPTIONAL_FILES or values[_OPTIONAL_FILES[path]]
    }
    if deployment.canary_track.version is not None:
        canary = _placeholders(_canary_track_of(deployment), "canary")
        for path in _FILES_OF_A_TRACK:
            folder, _, name = path.rpartition("/")
            files[f"{folder}/canary-{name}"] = _filled_in(path, canary)
    return dict(sorted(files.items()))


def kubectl(deployment: Deployment) -> str:
    """How a command of kubectl about the deployment begins."""
    namespace = deployment.kubernetes.namespace
    return "kubectl" if namespace is None else f"kubectl --namespace {namespace}"


def _canary_track_of(deployment: Deployment) -> Deployment:
    """The second Deployment as one of its own: a single version, a fixed number of replicas."""
    track = deployment.canary_track
    return deployment.model_copy(
        update={
            "stable": track.version,
            "canary": None,
            "also_loaded": (),
            "kubernetes": deployment.kubernetes.model_copy(update={"replicas": track.replicas}),
            "autoscaling": deployment.autoscaling.model_copy(update={"enabled": False}),
        }
    )


def _filled_in(path: str, values: Mapping[str, Sequence[str]]) -> str:
    lines: list[str] = []
    left_out_at: float = math.inf  # the indentation of the line whose block is left out
    for blanks, line in _LINE.findall((TEMPLATE / path).read_text(encoding="utf-8")):
        indentation = len(line) - len(line.lstrip())
        if indentation > left_out_at:
            continue
        lines += blanks.splitlines()
        names = _PLACEHOLDER.findall(line)
        left_out_at = math.inf if all(values[name] for name in names) else indentation
        for texts in itertools.product(*(values[name] for name in names)):
            filled = line
            for name, text in zip(names, texts, strict=True):
                filled = filled.replace(f"<{name}>", text)
            lines.append(filled.rstrip())
    return "\n".join(lines) + "\n"


def _placeholders(deployment: Deployment, track: str) -> dict[str, Sequence[str]]:
    """The values of every placeholder, by name: none, one, or one for each line.

    Args:
      deployment: the settings.
      track: whose files are filled in, "stable" or "canary".
    """
    batching, kubernetes, storage = deployment.batching, deployment.kubernetes, deployment.storage
    server, resources, namespace = deployment.server, deployment.resources, kubernetes.namespace
    alerts, second = deployment.alerts, deployment.canary_track
    source = storage.source or ""
    scheme, _, named = source.rpartition("://")
    settings = deployment.model_dump(mode="json")
    threads = math.ceil(resources.cpu)
    address = f"pvc://{storage.claim}" if storage.is_mounted else storage.path
    values = _by_dotted_key(settings) | {
        "settings": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).splitlines(),
        "object_name": deployment.object_name,
        "workload_name": deployment.object_name + ("" if track == "stable" else f"-{track}"),
        "track": track,
        "dns_model_name": deployment.dns_model_name,
        "image_reference": deployment.image_reference,
        "loaded_versions": deployment.loaded_versions,
        "server.rest_num_threads": server.rest_num_threads or 4 * threads,
        "server.grpc_max_threads": server.grpc_max_threads or 4 * threads,
        "server.intra_op_threads": server.intra_op_threads or threads,
        "server.inter_op_threads": server.inter_op_threads or threads,
        "batching.num_batch_threads": batching.num_batch_threads or threads,
        "resources.cpu": _cpu_quantity(resources.cpu),
        "resources.cpu_limit": _cpu_quantity(resources.cpu_limit),
        "storage.is_read_only": storage.access_mode == "ReadOnlyMany",
        "loader.versions": " ".join(map(str, deployment.fetched_versions)),
        "loader.newest_version": max(deployment.fetched_versions),
        "loader.versions_in_words": ", ".join(map(str, deployment.fetched_versions)),
        "loader.image": storage.oras_image if scheme == "oci" else storage.rclone_image,
        "loader.address": named if scheme else _MOUNTED_SOURCE,
        "kubernetes.progress_seconds": kubernetes.startup_seconds + 300,
        "kubernetes.startup_probes": math.ceil(kubernetes.startup_seconds / _PROBE_SECONDS),
        "kubernetes.termination_seconds": kubernetes.drain_seconds + 5,
        "kserve.storage_uri": deployment.kserve.storage_uri or address,
        "kserve.cpu_limit": _cpu_quantity(resources.cpu_limit or resources.cpu),
        "compose.cpus": None if resources.cpu_limit is None else f"{resources.cpu_limit:g}",
        "compose.mebibytes": _mebibytes(resources.memory),
        "alerts.failed_percent": f"{alerts.failed_percent:g}",
        "alerts.failed_share": f"{alerts.failed_percent / 100:g}",
        "alerts.p99_milliseconds": f"{alerts.p99_milliseconds:g}",
        "alerts.p99_microseconds": f"{alerts.p99_milliseconds * 1000:.0f}",
        "alerts.queue_milliseconds": f"{alerts.queue_milliseconds:g}",
        "alerts.queue_microseconds": f"{alerts.queue_milliseconds * 1000:.0f}",
        "canary_track.stable_percent": 100 - second.traffic_percent,
        "dashboard_uid": deployment.object_name[:_LONGEST_UID],
        "labels_in_words": ", ".join(f"{name} = {at}" for name, at in deployment.labels.items()),
        "versions_in_words": ", ".join(map(str, deployment.loaded_versions)),
        "next_version": deployment.canary or deployment.stable + 1,
        "track_version": second.version or deployment.stable + 1,
        "replicas_with_one_more": kubernetes.replicas + 1,
        "account_in_use": kubernetes.service_account or "default",
        "namespace_in_use": namespace or "default",
        "kubectl": kubectl(deployment),
    }
    if scheme in _RCLONE_SERVICES:
        values["loader.address"] = f":{_RCLONE_SERVICES[scheme]}:{named}"
    conditions = {
        "autoscaling": deployment.autoscaling.enabled,
        "batch_sizes": bool(batching.allowed_batch_sizes),
        "batching": batching.enabled,
        "canary_track": second.version is not None,
        "claim": storage.is_mounted and storage.create_claim,
        "components": bool(kubernetes.components),
        "draining": kubernetes.drain_seconds > 0,
        "gateway_namespace": kubernetes.gateway_namespace is not None,
        "gateway_hostname": kubernetes.gateway_hostname is not None,
        "loader": storage.has_loader,
        "loader_of_buckets": scheme in _RCLONE_SERVICES,
        "loader_of_folders": source.startswith("/"),
        "loader_of_registries": scheme == "oci",
        "loader_with_rclone": scheme in _RCLONE_SERVICES or source.startswith("/"),
        "loader_with_upload": source == "upload",
        "mounted": storage.is_mounted,
        "namespace": namespace is not None,
        "one_node": storage.is_on_one_node,
        "padding": batching.pad_variable_length_inputs,
        "source_secret": storage.source_secret is not None,
        "service_account": kubernetes.service_account is not None,
    }
    for name, holds in conditions.items():
        values |= {f"if_{name}": "" if holds else None, f"unless_{name}": None if holds else ""}
    texts: dict[str, Sequence[str]] = {name: _texts(value) for name, value in values.items()}
    texts |= {path: _filled_in(path, texts).splitlines() for path in _INCLUDED_FILES}
    # What takes effect at a start is told by digests: a changed one replaces the replicas, and a
    # Job, which cannot be changed, is made anew under another name. The one label of the canary
    # track cannot move while it is in use, so that models.config counts there, too.
    read_once = _READ_AT_THE_START if track == "stable" else _CONFIG_FILES
    texts["start_files_sha256"] = [_digest(*(texts[path] for path in read_once))]
    texts["loader.id"] = [""]
    texts["loader.id"] = [_digest([_filled_in(_LOADER, texts)])[:6]]
    return texts


def _digest(*texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([list(lines) for lines in texts]).encode()).hexdigest()


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


_SHOWN = 3
# Left in the cluster: a volume or a namespace holds data, and a Job goes by itself.
_STAYING = ("Namespace", "PersistentVolumeClaim", "Job")


class Written(NamedTuple):
    """What happened to the files of a folder, by path relative to it."""

    changed: list[str]
    unchanged: list[str]
    removed: list[str]


def settings_in(folder: Path) -> Deployment | None:
    """The settings that a folder was rendered from; None for an empty or missing folder.

    Raises:
      CommandError: the folder holds other things.
      ConfigurationError: its settings cannot be read.
    """
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise CommandError(f"{folder}: is a file; name a folder")
    if (folder / SETTINGS_FILE).is_file():
        return load_section(Deployment, folder / SETTINGS_FILE)
    if any(folder.iterdir()):
        raise CommandError(
            f"{folder}: holds other things and no {SETTINGS_FILE} of an earlier rendering; name a "
            "folder of its own"
        )
    return None


def require_safe_labels(before: Deployment, after: Deployment) -> None:
    """Refuses a label's move that TensorFlow Serving would refuse.

    A label in use may only move to a version that serves already. A models.config that breaks this
    is refused as a whole, so that the version it names is never loaded either. A label that nobody
    uses yet may name a version that loads with the same file.

    Args:
      before: what is rendered now, and presumably served.
      after: what shall be rendered.

    Raises:
      CommandError: a label in use would move to a version that is not loaded; the message says
        which steps lead there.
    """
    if before.model_name != after.model_name:
        return
    for label, version in after.labels.items():
        now = before.labels.get(label, version)
        if version != now and version not in before.loaded_versions:
            loading = sorted({*after.also_loaded, version})
            raise CommandError(
                f"label '{label}' cannot move from version {now} to {version} yet: the files in "
                f"this folder do not load version {version}, and the server refuses a label in use "
                f"for a version that does not serve. First load it ({label}={now} "
                f"also_loaded={loading}), wait until its status is AVAILABLE, and move the label "
                "then"
            )


def next_steps(before: Deployment | None, after: Deployment) -> list[str]:
    """What to do or to know after rendering, for people.

    Args:
      before: what was rendered in the folder, or None.
      after: what is rendered now.
    """
    steps = []
    loaded = () if before is None else before.loaded_versions
    arriving = [version for version in after.loaded_versions if version not in loaded]
    leaving = [version for version in loaded if version not in after.loaded_versions]
    if arriving and before is not None:
        steps.append(
            f"wait until version {_listed(arriving)} is AVAILABLE before a label that is in use "
            f"moves there: GET /v1/models/{after.model_name}"
        )
    if leaving:
        steps.append(f"version {_listed(leaving)} is unloaded: going back to it means loading it")
    if after.batching.enabled:
        steps.append(
            "batching is on: requests for the signature 'rank' will be refused, see "
            "server/batching.config"
        )
    return steps


def left_behind(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Objects that stay in the cluster although nothing that is applied names them any more.

    Args:
      before: the files that were rendered, by path.
      after: those that are rendered now.

    Returns:
      Kind and name of each as kubectl takes them, such as "deployment/movies-serving-canary"; they
      are in the namespace that was rendered before.
    """
    kept = _applied(after)
    return [name for namespace, name in _applied(before) if (namespace, name) not in kept]


def _applied(files: Mapping[str, str]) -> list[tuple[str | None, str]]:
    """Namespace, and kind and name, of what `kubectl apply -k kubernetes` makes of rendered files.

    Objects of the kinds in `_STAYING` are left out.
    """
    objects: list[dict[str, Any]] = []
    folders = ["kubernetes"] if files else []
    for folder in folders:
        applied = yaml.safe_load(files[f"{folder}/kustomization.yaml"])
        folders += [f"{folder}/{component}" for component in applied.get("components", ())]
        for resource in applied.get("resources", ()):
            objects += yaml.safe_load_all(files[f"{folder}/{resource}"])
        patches = [yaml.safe_load(patch["patch"]) for patch in applied.get("patches", ())]
        removed = [patch["kind"] for patch in patches if patch.get("$patch") == "delete"]
        objects = [one for one in objects if one["kind"] not in removed]
    return [
        (one["metadata"].get("namespace"), f"{one['kind'].lower()}/{one['metadata']['name']}")
        for one in objects
        if one["kind"] not in _STAYING
    ]


def missing_version(folder: Path, deployment: Deployment) -> Path | None:
    """The version folder that compose.yaml needs and does not find from where it is rendered.

    Args:
      folder: where compose.yaml is.
      deployment: the settings.
    """
    if not deployment.storage.is_mounted:
        return None
    version = folder / deployment.compose.model_folder / str(deployment.stable)
    version = Path(os.path.normpath(version))  # whether or not the folder exists yet
    return None if version.is_dir() else version


def _listed(versions: list[int]) -> str:
    return ", ".join(map(str, versions))


def write_files(
    folder: Path,
    files: Mapping[str, str],
    before: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> Written:
    """Writes files, each at once and only where its text changes.

    Files are replaced inside their folders, which stay: a container that has one of them mounted
    sees the new file.

    Args:
      folder: where to; made if missing.
      files: path relative to the folder -> text.
      before: the files that stand there from an earlier rendering; those that are no longer
        rendered are removed.
      dry_run: only say what would change.

    Raises:
      CommandError: the folder holds files of nobody here.
    """
    before = before or {}
    present = sorted(path.relative_to(folder).as_posix() for path in _files_below(folder))
    strange = [path for path in present if path not in before and path not in files]
    if strange:
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        raise CommandError(
            f"{folder}: holds files that are not rendered here ({', '.join(strange[:_SHOWN])}"
            f"{more}); move them away, or name another folder"
        )
    written = Written([], [], [path for path in present if path not in files])
    for path, text in files.items():
        is_same = path in present and (folder / path).read_bytes() == text.encode()
        (written.unchanged if is_same else written.changed).append(path)
    if dry_run:
        return written
    for path in written.changed:
        with replaced_when_complete(folder / path) as partial:
            partial.write_bytes(files[path].encode())
    for path in written.removed:
        (folder / path).unlink()
    return written


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()] if folder.exists() else []
