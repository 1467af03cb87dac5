"""Writing a trained run as a SavedModel version that TensorFlow Serving loads."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TypedDict

import tensorflow as tf
from tensorflow.compat.v1.saved_model import signature_constants, signature_def_utils, tag_constants

from serving.serving_module import ServingModule
from serving.warmup import write_warmup_requests
from trainer.run_folder import RunFolder


class ExportResult(TypedDict):
    """Where an export is and what it offers."""

    path: str
    version: int
    signatures: list[str]


_VERSION = re.compile(r"[0-9]+")


def export_run(
    run: str | Path, base: str | Path, augmented_dtype: str | None = None
) -> ExportResult:
    """Exports a finished run into the next version folder under a base path.

    The version is written under a hidden name and moved into place, so a server that watches the
    base path never sees half of it.

    Args:
      run: run folder of the trained model.
      base: model base path, e.g. "out/export"; versions are the integer folders in it.
      augmented_dtype: "float32" or "float16"; the scenario's `serving.augmented_dtype` when left
        out.

    Returns:
      Path of the version folder, its number and the names of its signatures.

    Raises:
      trainer.run_folder.RunFolderError: the run is incomplete or its data has changed.
    """
    scenario, model = RunFolder(run).load_model()
    base = Path(base)
    base.mkdir(parents=True, exist_ok=True)
    versions = [int(path.name) for path in base.iterdir() if _VERSION.fullmatch(path.name)]
    version = max(versions, default=0) + 1
    module = ServingModule(model, tf.as_dtype(augmented_dtype or scenario.serving.augmented_dtype))
    signatures = module.signatures()
    unfinished = base / f".{version}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    path = base / str(version)
    try:
        tf.saved_model.save(module, str(unfinished), signatures=signatures)
        _set_method_names(unfinished)
        write_warmup_requests(unfinished, scenario.serving.model_name)
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return ExportResult(path=str(path), version=version, signatures=sorted(signatures))


def _set_method_names(version_folder: Path) -> None:
    """Marks the signatures of the Classify and Regress APIs by their method names."""
    updater = signature_def_utils.MethodNameUpdater(str(version_folder))
    for signature, method in (
        ("classify", signature_constants.CLASSIFY_METHOD_NAME),
        ("regress", signature_constants.REGRESS_METHOD_NAME),
    ):
        updater.replace_method_name(
            signature_key=signature, method_name=method, tags=tag_constants.SERVING
        )
    updater.save()
