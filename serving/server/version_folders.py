"""The version folders below a model's base path."""

from __future__ import annotations

from pathlib import Path

_LARGEST_VERSION = 2**63 - 1

Fingerprint = frozenset[tuple[str, int, int]]


def version_folders(base: Path) -> dict[int, Path]:
    """Version number -> folder, highest first; other entries are no versions.

    Raises:
      OSError: the base path cannot be listed.
    """
    folders = [entry for entry in base.iterdir() if entry.is_dir()]
    numbered = [(int(entry.name), entry) for entry in folders if _is_number(entry.name)]
    return dict(sorted(numbered, reverse=True))


def fingerprint(folder: Path) -> Fingerprint:
    """Path, time of change (ns) and size of every file below a folder, as far as it can be read."""
    found = set()
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except OSError:  # deleted meanwhile
            continue
        found.add((str(path.relative_to(folder)), status.st_mtime_ns, status.st_size))
    return frozenset(found)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and int(name) <= _LARGEST_VERSION
