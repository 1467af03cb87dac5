"""A step of preprocessing: skipped when nothing changed, complete or absent, with a manifest.

A step writes into a hidden folder beside its place and is moved there when it is complete. A killed
run leaves only the hidden folder, which the next run removes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, RejectedInput, say, warn_of_little_space
from configs.files import file_sha256
from preprocessing import storage
from preprocessing.records.layout import StepDirectory

Manifest = dict[str, Any]


@dataclass(frozen=True)
class StepIdentity:
    """What a step's result depends on. Equal identities give equal bytes.

    Attributes:
      step: name of the step, with its source, e.g. "encode item".
      config_hash: hash of the configuration sections that matter.
      code_version: name and number of the step's contract, see `configs.contract_versions`.
      inputs: input file -> SHA-256.
    """

    step: str
    config_hash: str
    code_version: str
    inputs: Mapping[str, str]

    def as_dictionary(self) -> dict[str, object]:
        """The part of the manifest that decides whether the step can be skipped."""
        return {
            "step": self.step,
            "config_hash": self.config_hash,
            "code_version": self.code_version,
            "inputs": dict(sorted(self.inputs.items())),
        }


def run_step(
    directory: StepDirectory,
    identity: StepIdentity,
    build: Callable[[Path], Mapping[str, object]],
    force: bool = False,
) -> tuple[Manifest, bool]:
    """Runs a step unless its finished result is there.

    Args:
      directory: where the result belongs.
      identity: what the result depends on.
      build: writes the result into the folder it is given and returns what the manifest says
        about it.
      force: run even if the finished result is there.

    Returns:
      The manifest, and True when the step was skipped.

    Raises:
      CommandError: another process writes into the same folder.
    """
    final = directory.path
    final.parent.mkdir(parents=True, exist_ok=True)
    with _only_writer(final.parent):
        temporary = final.with_name(f".{final.name}.partial")
        replaced = final.with_name(f".{final.name}.replaced")
        for leftover in (temporary, replaced):
            shutil.rmtree(leftover, ignore_errors=True)
        if not force:
            manifest = finished_manifest(directory, identity)
            if manifest is not None:
                return manifest, True
        # A result is seldom much smaller than what it is made from.
        local = [path for path in identity.inputs if os.path.isfile(path)]
        needed = sum(os.path.getsize(path) for path in local)
        warn_of_little_space(final.parent, needed, identity.step)
        temporary.mkdir()
        try:
            described = build(temporary)
            manifest = {**identity.as_dictionary(), **described, "files": _checksums(temporary)}
            write_manifest(StepDirectory(temporary).manifest, manifest)
            if final.exists():
                os.replace(final, replaced)
            os.replace(temporary, final)
        finally:
            for leftover in (temporary, replaced):
                shutil.rmtree(leftover, ignore_errors=True)
    return manifest, False


def describe_step(directory: StepDirectory, identity: StepIdentity, force: bool) -> dict[str, Any]:
    """What `--dry-run` says about a step, to people and to programs."""
    finished = not force and finished_manifest(directory, identity) is not None
    sizes = {path: storage.size(path) for path in sorted(identity.inputs)}
    work = "finished, would be skipped" if finished else "would run"
    size = _shown_size(sum(sizes.values()))
    say(f"{identity.step}: {work}; reads {len(sizes)} files, {size}; writes {directory.path}")
    return {
        "step": identity.step,
        "dry_run": True,
        "would_skip": finished,
        "inputs": sizes,
        "output": str(directory.path),
    }


def _shown_size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1_000_000 else f"{size / 1e3:,.1f} kB"


def refuse_rejected(directories: Sequence[StepDirectory], result: Mapping[str, Any]) -> None:
    """What `--strict` does: raises RejectedInput when a step has dead letters."""
    files = [
        directory.dead_letters for directory in directories if directory.dead_letters.stat().st_size
    ]
    if files:
        raise RejectedInput(f"some records were rejected; see {', '.join(map(str, files))}", result)


def finished_manifest(directory: StepDirectory, identity: StepIdentity) -> Manifest | None:
    """The manifest of a finished step with this identity and intact files, if there is one."""
    try:
        manifest = json.loads(directory.manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict):
        return None
    expected = identity.as_dictionary()
    if {key: manifest.get(key) for key in expected} != expected:
        return None
    try:
        intact = _checksums(directory.path) == manifest.get("files")
    except OSError:
        return None
    return manifest if intact else None


def write_manifest(path: Path, manifest: Mapping[str, object]) -> None:
    """Writes a manifest as JSON that people can read."""
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _checksums(folder: Path) -> dict[str, dict[str, object]]:
    manifest = StepDirectory(folder).manifest
    return {
        path.relative_to(folder).as_posix(): {
            "sha256": file_sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != manifest
    }


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(
                f"{folder}: another preprocessing run writes here; wait for its end"
            ) from error
        yield
    finally:
        os.close(descriptor)
