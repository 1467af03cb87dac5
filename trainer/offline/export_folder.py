"""Telling a run folder from a SavedModel by what is in it."""

from __future__ import annotations

from pathlib import Path

from configs.command_line import CommandError
from trainer.run_folder import RunFolder

_SAVED_MODEL = "saved_model.pb"


def saved_model_in(folder: str | Path) -> Path | None:
    """The SavedModel of a folder: the folder itself, or its version folder of highest number.

    Returns:
      None for a run folder.

    Raises:
      CommandError: the folder holds neither.
    """
    path = Path(folder)
    if (path / _SAVED_MODEL).is_file():
        return path
    if RunFolder(path).config.is_file():
        return None
    versions = [
        version
        for version in (path.iterdir() if path.is_dir() else ())
        if version.name.isascii()
        and version.name.isdecimal()
        and (version / _SAVED_MODEL).is_file()
    ]
    if not versions:
        raise CommandError(
            f"{path} holds no finished run (config.yaml, metrics.json) and no SavedModel "
            f"({_SAVED_MODEL}, or folders named by version numbers that have one); name a folder "
            "that 'python -m trainer train' or 'python -m serving export' wrote"
        )
    return max(versions, key=lambda version: int(version.name))
