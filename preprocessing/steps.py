"""A step of preprocessing: skipped when nothing changed, complete or absent, with a manifest.

A step writes into a hidden folder beside its place and is moved there when it is complete. A killed
run leaves only the hidden folder, which the next run removes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from configs.command_line import CommandError, RejectedInput, say, warn_of_little_space
from configs.contract_versions import contract_version
from configs.files import file_sha256
from preprocessing import storage
from preprocessing.records.forgotten import NOTHING_FORGOTTEN, Forgotten
from preprocessing.records.layout import FORGOTTEN, StepDirectory

Manifest = dict[str, Any]


@dataclass(frozen=True)
class StepRun:
    """What became of a step.

    Attributes:
      manifest: of its result.
      seconds: how long it took.
      skipped: True when the finished result was there.
    """

    manifest: Manifest
    seconds: float
    skipped: bool


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: its caller says what is special; identity, dry run, lock and manifest are here.

    Attributes:
      name: of the step, with its source, e.g. "encode item". The first word names its contract.
      directory: where its result belongs.
      settings: all that its result depends on beside input files: sections and plain values.
      inputs: input file -> SHA-256.
      forgotten: users and items that it leaves out.
      build: writes the result into the empty folder it is given and returns what the manifest says
        about it.
      report: tells people what became of the step and returns the same for programs.
    """

    name: str
    directory: StepDirectory
    settings: Mapping[str, object]
    inputs: Mapping[str, str]
    build: Callable[[Path], Mapping[str, object]]
    report: Callable[[StepRun], dict[str, Any]]
    forgotten: Forgotten = NOTHING_FORGOTTEN

    @property
    def identity(self) -> dict[str, object]:
        """The part of the manifest that decides whether the step is skipped.

        Equal identities give equal bytes, but for what `forget` has taken out since.
        """
        forgotten = self.forgotten.digest
        return {
            "step": self.name,
            "config_hash": settings_hash(self.settings),
            "code_version": contract_version(self.name.split()[0]),
            "inputs": dict(sorted(self.inputs.items())),
            **({} if forgotten is None else {FORGOTTEN: forgotten}),
        }

    def finished(self) -> Manifest | None:
        """The manifest of a finished result of this identity with intact files, if there is one."""
        try:
            manifest = json.loads(self.directory.manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(manifest, dict):
            return None
        expected = self.identity
        if {key: manifest.get(key) for key in expected} != expected:
            return None
        try:
            intact = _checksums(self.directory.path) == manifest.get("files")
        except OSError:
            return None
        return manifest if intact else None

    def run(self, force: bool = False, started: float | None = None) -> dict[str, Any]:
        """Runs the step unless its finished result is there.

        Args:
          force: run even if the finished result is there.
          started: since when its seconds count (`time.monotonic`); None: from now.

        Returns:
          What `report` returns, `seconds` and `skipped`.

        Raises:
          CommandError: another process writes into the same folder.
        """
        started = time.monotonic() if started is None else started
        manifest, skipped = self._make(force)
        seconds = time.monotonic() - started
        result = self.report(StepRun(manifest, seconds, skipped))
        return {**result, "seconds": round(seconds, 3), "skipped": skipped}

    def dry_run(self, force: bool) -> dict[str, Any]:
        """What `--dry-run` says about the step, to people and to programs."""
        finished = not force and self.finished() is not None
        sizes = {path: storage.size(path) for path in sorted(self.inputs)}
        work = "finished, would be skipped" if finished else "would run"
        size = _shown_size(sum(sizes.values()))
        say(f"{self.name}: {work}; reads {len(sizes)} files, {size}; writes {self.directory.path}")
        return {
            "step": self.name,
            "dry_run": True,
            "would_skip": finished,
            "inputs": sizes,
            "output": str(self.directory.path),
        }

    def _make(self, force: bool) -> tuple[Manifest, bool]:
        """The manifest, and True when the finished result was there."""
        final = self.directory.path
        final.parent.mkdir(parents=True, exist_ok=True)
        with only_writer(final.parent):
            temporary = final.with_name(f".{final.name}.partial")
            replaced = final.with_name(f".{final.name}.replaced")
            for leftover in (temporary, replaced):
                shutil.rmtree(leftover, ignore_errors=True)
            if not force:
                manifest = self.finished()
                if manifest is not None:
                    return manifest, True
            # A result is seldom much smaller than what it is made from.
            local = [path for path in self.inputs if os.path.isfile(path)]
            needed = sum(os.path.getsize(path) for path in local)
            warn_of_little_space(final.parent, needed, self.name)
            temporary.mkdir()
            try:
                described = self.build(temporary)
                manifest = {**self.identity, **described, "files": _checksums(temporary)}
                write_manifest(StepDirectory(temporary).manifest, manifest)
                if final.exists():
                    os.replace(final, replaced)
                os.replace(temporary, final)
            finally:
                for leftover in (temporary, replaced):
                    shutil.rmtree(leftover, ignore_errors=True)
        return manifest, False


def run_sources(
    command: str, steps: Mapping[str, Step], force: bool, started: float
) -> dict[str, Any]:
    """Runs a command's step for each of its sources.

    Args:
      command: its name.
      steps: source -> step.
      force: run even if the finished result is there.
      started: since when the seconds of all together count (`time.monotonic`).

    Returns:
      The result of each under `sources`, and `seconds` and `skipped` of all together.
    """
    results = {source: step.run(force) for source, step in steps.items()}
    return {
        "step": command,
        "sources": results,
        "seconds": round(time.monotonic() - started, 3),
        "skipped": all(result["skipped"] for result in results.values()),
    }


def settings_hash(settings: Mapping[str, object]) -> str:
    """SHA-256 over sections and plain values; equal settings give equal hashes in any order."""
    # In a list, as manifests of finished steps have it.
    text = json.dumps([settings], sort_keys=True, default=_values_of)
    return hashlib.sha256(text.encode()).hexdigest()


def _values_of(section: BaseModel) -> dict[str, Any]:
    return section.model_dump(mode="json")


def _shown_size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1_000_000 else f"{size / 1e3:,.1f} kB"


def refuse_rejected(directories: Sequence[StepDirectory], result: Mapping[str, Any]) -> None:
    """What `--strict` does: raises RejectedInput when a step has dead letters."""
    files = [
        directory.dead_letters for directory in directories if directory.dead_letters.stat().st_size
    ]
    if files:
        raise RejectedInput(f"some records were rejected; see {', '.join(map(str, files))}", result)


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
def only_writer(folder: Path) -> Iterator[None]:
    """Holds the folders of steps that lie in a folder, until the block or the process ends.

    Errors of a full disk that do not say where, SQLite's too, come out of the block as those of the
    folder.

    Raises:
      CommandError: another process holds them.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(
                f"{folder}: another preprocessing run writes here; wait for its end"
            ) from error
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC and error.filename is None:
            raise _disk_full(folder) from error
        raise
    except sqlite3.OperationalError as error:
        # Errors of Python's own module have no code.
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise _disk_full(folder) from error
        raise
    finally:
        os.close(descriptor)


def _disk_full(folder: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
