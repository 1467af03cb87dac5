"""Whether prepared data are what their manifests say, made from the files that a scenario names.

The manifest of a step lists its input files and the files it wrote, each with its SHA-256.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from configs.data import Table
from configs.files import file_sha256
from configs.scenario import Scenario
from preprocessing import storage
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.layout import FORGOTTEN, StepDirectory, WorkDirectory

_DEEPEST = 3
"""Levels at which a file may lie below its step's folder: examples/ctr/train/part-..."""

_STEP = "step"
"""What the manifest of a step has, and other files of this name need not."""

_AGAIN = "run the preprocessing step again with --force"
_SHOWN_DIGITS = 12


def as_written(path: Path) -> Path:
    """The path of a step's file, once it is sure to be the file that the step wrote.

    A file that did not change since it was last compared in this process is not read again.

    Raises:
      DamagedRecords: the file is missing, the step's manifest does not list it, or lists another
        size or checksum. The message names the file.
    """
    is_written_by_step(path)
    return path


def is_written_by_step(path: Path) -> bool:
    """Compares a file with the manifest of the step in whose folder it lies.

    Returns:
      True when they agree; False for a file in no step's folder, of which no manifest speaks.

    Raises:
      DamagedRecords: see `as_written`.
    """
    for folder in list(path.parents)[:_DEEPEST]:
        manifest = StepDirectory(folder).manifest
        if manifest.is_file() and _STEP in _contents_of(manifest):
            listed = _section(manifest, "files").get(path.relative_to(folder).as_posix())
            if listed is None:
                raise DamagedRecords(
                    f"{path}: {manifest} does not list this file, so another step or run wrote it; "
                    f"{_AGAIN}"
                )
            _compare(path, manifest, listed)
            return True
    return False


def input_differences(scenario: Scenario, sources: Iterable[str]) -> list[str]:
    """How the files that a scenario names differ from those its prepared data were made from.

    A file may lie elsewhere than it did, if its contents are the same, or be no longer at hand, if
    its name is. URLs are compared by their names alone.

    Args:
      scenario: names the files and the work directory.
      sources: those of knowledge that are looked at.

    Returns:
      A line for each field that names other files: the field, its value, and what was read.

    Raises:
      DamagedRecords: a manifest is missing, or lists no inputs.
    """
    work = WorkDirectory(scenario.work_dir)
    directories: list[StepDirectory] = [work.examples, *map(work.knowledge, sources := [*sources])]
    lines = _differences(work.examples, _tables(scenario), no_others=True)
    for source in sources:
        lines += _differences(work.knowledge(source), _answers(scenario, source))
        lines += _other_contents(work.knowledge(source), work.examples)
    forgotten = Forgotten.of(scenario.work_dir).digest
    return lines + [
        f"  work_dir: {directory.path} may hold users or items that were forgotten; run 'python -m "
        "preprocessing forget' again, to its end"
        for directory in directories
        if forgotten not in (None, _contents_of(directory.manifest).get(FORGOTTEN))
    ]


def _tables(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    data = scenario.data
    tables: dict[str, Table | None] = {
        "interactions": data.interactions,
        "catalogue": data.catalogue,
        "profiles": data.profiles,
    }
    return {f"data.{name}.path": table.paths for name, table in tables.items() if table is not None}


def _answers(scenario: Scenario, source: str) -> dict[str, tuple[str, ...]]:
    """The files of a source's own, without the tables, which the examples are made from, too."""
    answers = scenario.knowledge.answers[source]
    files = {
        "individual": answers.individual,
        "collective": answers.collective,
        "vectors": answers.vectors,
        "groups": [answers.groups] if answers.groups is not None else [],
    }
    return {f"knowledge.answers.{source}.{name}": tuple(paths) for name, paths in files.items()}


def _differences(
    directory: StepDirectory, asked: Mapping[str, tuple[str, ...]], no_others: bool = False
) -> list[str]:
    """Compares the files of some fields with a step's inputs.

    Args:
      directory: of the step.
      asked: field -> paths and patterns.
      no_others: whether the step reads the files of these fields and no others.
    """
    inputs = _section(directory.manifest, "inputs")
    left = dict(inputs)
    recorded: dict[str, list[str]] = {field: [] for field in asked}
    unknown: dict[str, list[str]] = {field: [] for field in asked}
    lines = []
    for field, patterns in asked.items():
        for file in _meant(patterns, inputs):
            then, now = inputs.get(file), _sha256_at_hand(file)
            if then is not None:
                left.pop(file, None)
                recorded[field].append(file)
                if now not in (None, then):
                    lines.append(
                        f"  {field}: '{file}' has changed since {directory.path} was built from it "
                        f"(SHA-256 {_short(now)}, then {_short(then)})"
                    )
            elif now in left.values():
                moved = next(name for name, sha256 in left.items() if sha256 == now)
                del left[moved]
                recorded[field].append(moved)
            else:
                unknown[field].append(file)
    if no_others and left and not any(unknown.values()):
        lines.append(
            f"  {', '.join(asked)}: no field names {_named(left)}, which {directory.path} was "
            "built from too"
        )
    return lines + [
        f"  {field}: {_named(files)} is asked for, but {directory.path} was built from "
        f"{_named(left or recorded[field])}"
        for field, files in unknown.items()
        if files
    ]


def _other_contents(directory: StepDirectory, other: StepDirectory) -> list[str]:
    """Tables that both steps read, and that one of them read before they changed."""
    inputs, others = (_section(step.manifest, "inputs") for step in (directory, other))
    return [
        f"  '{file}' changed between {directory.path} (SHA-256 {_short(inputs[file])}) and "
        f"{other.path} (SHA-256 {_short(others[file])}), which were both built from it"
        for file in sorted(inputs.keys() & others.keys())
        if inputs[file] != others[file]
    ]


def _meant(patterns: Iterable[str], inputs: Iterable[str]) -> dict[str, None]:
    """The files that paths and patterns mean: those at hand, or else those once read."""
    files: dict[str, None] = {}
    for pattern in patterns:
        matches = [] if storage.is_url(pattern) else storage.matching_files(pattern)
        files |= dict.fromkeys(
            matches or [file for file in inputs if fnmatchcase(file, pattern)] or [pattern]
        )
    return files


def _named(files: Iterable[str]) -> str:
    return ", ".join(f"'{file}'" for file in files) or "no file"


def _compare(path: Path, manifest: Path, listed: Mapping[str, Any]) -> None:
    try:
        size = path.stat().st_size
        digest = None if size != listed["bytes"] else _sha256(path)
    except OSError as error:
        raise DamagedRecords(f"{path}: file: {error.strerror or error}; {_AGAIN}") from error
    if digest == listed["sha256"]:
        return
    difference = (
        f"it has {size:,} bytes, {manifest} says {listed['bytes']:,}"
        if digest is None
        else f"its SHA-256 is {_short(digest)}, {manifest} says {_short(listed['sha256'])}"
    )
    raise ForeignFile(f"{path}: not the file that the step wrote ({difference}); {_AGAIN}")


class ForeignFile(DamagedRecords):
    """A file of a step's folder is not the one that the step wrote, whole as it may be."""


def _section(manifest: Path, name: str) -> dict[str, Any]:
    section = _contents_of(manifest).get(name)
    if not isinstance(section, dict):
        raise DamagedRecords(
            f"{manifest}: does not list the step's {name}; run 'python -m preprocessing all' again"
        )
    return section


def _contents_of(manifest: Path) -> dict[str, Any]:
    try:
        status = manifest.stat()
    except OSError:
        # The reader says why it cannot be read.
        return StepDirectory(manifest.parent).read_manifest()
    return _contents(manifest, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _contents(manifest: Path, size: int, modified: int) -> dict[str, Any]:
    del size, modified
    return StepDirectory(manifest.parent).read_manifest()


def _sha256_at_hand(file: str) -> str | None:
    """SHA-256 of a file; None for a URL, and for a file that is not there."""
    return _sha256(Path(file)) if not storage.is_url(file) and Path(file).is_file() else None


def _sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_once(path.absolute(), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=65536)
def _sha256_once(path: Path, size: int, modified: int) -> str:
    del size, modified
    return file_sha256(path)


def _short(sha256: object) -> str:
    return str(sha256)[:_SHOWN_DIGITS]
