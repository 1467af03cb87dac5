"""Writing rendered files into a folder that holds nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from configs.command_line import CommandError
from configs.loading import load_section
from serving.deploy.rendering import SETTINGS_FILE
from serving.deploy.settings import Deployment

_SHOWN = 3


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


def write_files(
    folder: Path, files: Mapping[str, str], before: Mapping[str, str] | None = None
) -> Written:
    """Writes files, each at once and only where its text changes.

    Files are replaced inside their folders, which stay: a container that has one of them mounted
    sees the new file.

    Args:
      folder: where to; made if missing.
      files: path relative to the folder -> text.
      before: the files that stand there from an earlier rendering; those that are no longer
        rendered are removed.

    Raises:
      CommandError: the folder holds files of nobody here.
    """
    before = before or {}
    found = sorted(path.relative_to(folder).as_posix() for path in _files_below(folder))
    strange = [path for path in found if path not in before and path not in files]
    if strange:
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        raise CommandError(
            f"{folder}: holds files that are not rendered here ({', '.join(strange[:_SHOWN])}"
            f"{more}); move them away, or name another folder"
        )
    written = Written([], [], [path for path in found if path not in files])
    for path, text in files.items():
        is_same = path in found and (folder / path).read_bytes() == text.encode()
        (written.unchanged if is_same else written.changed).append(path)
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
