"""From one rendering of a folder to the next: moves of labels, files written and removed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from configs.command_line import CommandError
from configs.loading import load_section
from serving.deploy.rendering import SETTINGS_FILE
from serving.deploy.settings import Deployment

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
        _replace(folder / path, files[path])
    for path in written.removed:
        (folder / path).unlink()
    return written


def _files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()] if folder.exists() else []


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(text.encode())
    os.replace(unfinished, path)
