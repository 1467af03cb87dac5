"""The version folders below a model's base path."""

from __future__ import annotations

from pathlib import Path

_LARGEST_VERSION = 2**63 - 1


def version_folders(base: Path) -> dict[int, Path]:
    """Version number -> folder, highest first; other entries are no versions.

    Raises:
      OSError: the base path cannot be listed.
    """
    folders = [entry for entry in base.iterdir() if entry.is_dir()]
    numbered = [(int(entry.name), entry) for entry in folders if _is_number(entry.name)]
    return dict(sorted(numbered, reverse=True))


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and int(name) <= _LARGEST_VERSION
