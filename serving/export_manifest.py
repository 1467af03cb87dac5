"""`assets.extra/manifest.json`: what a version folder is and holds, with checksums.

TensorFlow Serving does not read files of assets.extra that it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import tensorflow as tf

from configs.command_line import CommandError
from configs.contract_versions import contract_version
from configs.files import file_sha256
from configs.scenario import Scenario
from serving.proof.result import Proof
from serving.proof.samples import SignatureForms
from trainer.run_folder import RunFolder

MANIFEST = "assets.extra/manifest.json"
FORMAT_VERSION = 1

_VARIABLES = "variables/variables"
_ATTRIBUTE = "/.ATTRIBUTES/VARIABLE_VALUE"


class DamagedExport(CommandError):
    """A version folder is not what its manifest says; the message names the file."""


def write_manifest(
    version_folder: Path,
    run: RunFolder,
    scenario: Scenario,
    model_kind: str,
    number_format: str,
    proof: Proof | None,
) -> Path:
    """Writes the manifest, which comes last: it lists every other file of the folder.

    Args:
      version_folder: the export, complete but for this file.
      run: the exported run.
      scenario: the run's.
      model_kind: ctr, rerank or retrieval.
      number_format: of the stored vectors.
      proof: None where none was asked for.

    Returns:
      The file.
    """
    forms = SignatureForms(version_folder)
    metrics = run.read_metrics()
    model = scenario.model
    manifest = {
        "format_version": FORMAT_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_version": contract_version("export"),
        "run": run.path.name,
        "trained_by_code_version": metrics["code_version"],
        "fingerprint": metrics["fingerprint"],
        "scenario": scenario.name,
        "model": {
            "kind": model_kind,
            "backbone": model.backbone,
            "adapter": model.adapter,
            "match": model.match,
            "prior": model.prior,
            "tasks": list(model.tasks),
            "knowledge_sources": list(scenario.knowledge_sources()),
        },
        "number_format": number_format,
        "id_type": forms.id_type,
        "variables": _variables(version_folder),
        "ratings": {
            "in_requests": not scenario.data.is_implicit,
            "positive_rating": scenario.data.liked_from,
        },
        "signatures": {
            name: {
                "method": definition.method_name,
                "inputs": _tensors(definition.inputs),
                "outputs": _tensors(definition.outputs),
            }
            for name, definition in sorted(forms.definitions.items())
        },
        "proof": None if proof is None else proof.to_json(),
        "files": listed_files(version_folder),
    }
    return write_document(version_folder, manifest)


def write_document(version_folder: Path, manifest: Mapping[str, Any]) -> Path:
    """Writes a manifest's file."""
    path = version_folder / MANIFEST
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def listed_files(version_folder: Path) -> dict[str, dict[str, Any]]:
    """Every file of the folder but the manifest: relative name -> size and SHA-256."""
    files = {}
    for path in sorted(version_folder.rglob("*")):
        name = path.relative_to(version_folder).as_posix()
        if path.is_file() and name != MANIFEST:
            files[name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    return files


def variable_name(checkpoint_key: str) -> str:
    """What a manifest calls a variable."""
    return checkpoint_key.removesuffix(_ATTRIBUTE)


def read_manifest(version_folder: Path) -> dict[str, Any]:
    """The manifest of a version folder; its files are not looked at.

    Raises:
      DamagedExport: there is none, it cannot be read, or it is of a later format.
    """
    path = version_folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DamagedExport(
            f"{path}: {error.strerror or error}; name a version folder that 'python -m serving "
            "export' wrote"
        ) from error
    except ValueError as error:
        raise DamagedExport(f"{path} is damaged ({error}); export again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DamagedExport(f"{path} is damaged (it lists no files); export again")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise DamagedExport(
            f"{path} has format version {manifest.get('format_version')!r}, and this code reads "
            f"{FORMAT_VERSION}; use the version of the code that wrote it, or export again"
        )
    return manifest


def verify_manifest(version_folder: Path) -> dict[str, Any]:
    """Makes sure that every file that the manifest lists is there and unchanged.

    Files that it does not list are not looked at.

    Returns:
      The manifest.

    Raises:
      DamagedExport: a file is missing, cut off or changed; the message names it. See also
        `read_manifest`.
    """
    manifest = read_manifest(version_folder)
    for name, listed in manifest["files"].items():
        path = version_folder / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DamagedExport(f"{version_folder / MANIFEST} lists '{name}', outside its folder")
        if not path.is_file():
            raise DamagedExport(f"{path} is missing; copy the version folder anew, or export again")
        size = path.stat().st_size
        if size != listed["bytes"]:
            cut_off = " (cut off?)" if size < listed["bytes"] else ""
            raise DamagedExport(
                f"{path} has {size:,} bytes, and the manifest says {listed['bytes']:,}{cut_off}; "
                "copy the version folder anew, or export again"
            )
        if file_sha256(path) != listed["sha256"]:
            raise DamagedExport(
                f"{path} is not the file that was exported (another SHA-256 than the manifest's); "
                "copy the version folder anew, or export again"
            )
    return manifest


def _variables(version_folder: Path) -> dict[str, dict[str, Any]]:
    """Every stored variable, tables included: name -> shape, rows first, and number format."""
    reader = tf.train.load_checkpoint(str(version_folder / _VARIABLES))
    types = reader.get_variable_to_dtype_map()
    return {
        variable_name(name): {"shape": shape, "dtype": types[name].name}
        for name, shape in sorted(reader.get_variable_to_shape_map().items())
        if name.endswith(_ATTRIBUTE)
    }


def _tensors(infos: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Inputs or outputs: name -> type and shape, null for any length."""
    return {
        name: {
            "dtype": tf.as_dtype(info.dtype).name,
            "shape": [None if axis.size < 0 else axis.size for axis in info.tensor_shape.dim],
        }
        for name, info in sorted(infos.items())
    }
