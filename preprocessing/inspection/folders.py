"""Folders: a step with its manifest and records, and a work directory with its steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocessing.dead_letters import count_by_reason
from preprocessing.inspection.kinds import (
    SHARD_PATTERN,
    Kind,
    kind_of,
    part_folders,
    read_manifest,
    step_folders,
)
from preprocessing.inspection.line_files import view_prompts
from preprocessing.inspection.record_files import view_records
from preprocessing.inspection.tables import view_csv
from preprocessing.records.contract import EXAMPLE_KINDS, PARTS
from preprocessing.records.layout import ExamplesDirectory, StepDirectory, shard_files

_MAIN = ("step", "encoder", "counts")
_DETAILS = ("code_version", "config_hash", "settings", "inputs")


def view_step(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Manifest, dead letters, sizes, and the first records of a step's folder.

    Args:
      path: the folder.
      records: records shown of each kind.
      limit: records read of each kind for the statistics.

    Raises:
      CommandError: the manifest is damaged.
      DamagedRecords: a record file is damaged.
    """
    manifest = read_manifest(StepDirectory(path).manifest)
    return {
        **_summary(path, manifest),
        **{name: manifest[name] for name in _DETAILS if name in manifest},
        "files": {name: file["bytes"] for name, file in sorted(manifest["files"].items())},
        "content": _content(path, records, limit),
    }


def view_parts(path: Path, records: int, limit: int) -> dict[str, Any]:
    """The first records of each part of one kind of examples, and statistics.

    Raises:
      DamagedRecords: a record file is damaged or missing.
    """
    return {
        "parts": {
            part: view_records(shard_files(folder), records, limit)
            for part, folder in part_folders(path).items()
        }
    }


def view_work_directory(path: Path) -> dict[str, Any]:
    """What each step says of itself.

    Raises:
      CommandError: a manifest is damaged.
    """
    steps = {}
    for folder in step_folders(path):
        manifest = read_manifest(StepDirectory(folder).manifest)
        summary = _summary(folder, manifest)
        summary["bytes"] = sum(file["bytes"] for file in manifest["files"].values())
        steps[folder.relative_to(path).as_posix()] = summary
    return {"steps": steps}


def _summary(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    view = {name: manifest[name] for name in _MAIN if name in manifest}
    letters = StepDirectory(path).dead_letters
    if letters.is_file():
        view["dead_letters"] = count_by_reason(letters)
    return view


def _content(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Views of the record files: of the training part where there are parts."""
    examples = ExamplesDirectory(path)
    views: dict[str, Any] = {}
    for kind in EXAMPLE_KINDS:
        if examples.part(PARTS[0], kind).is_dir():
            shards = examples.shards(PARTS[0], kind)
            views[f"{kind}/{PARTS[0]}"] = view_records(shards, records, limit)
    if any(path.glob(SHARD_PATTERN)):
        views["knowledge"] = view_records(shard_files(path), records, limit)
    for file in sorted(path.iterdir()):
        if file.suffix == ".csv":
            views[file.name] = view_csv(file, records, limit)
        elif file.suffix == ".jsonl" and file.stat().st_size and kind_of(file) is Kind.PROMPTS:
            views[file.name] = view_prompts(file, records, limit)
    return views
