"""Tells whether the files of a folder have changed."""

from __future__ import annotations

from pathlib import Path

Fingerprint = frozenset[tuple[str, int, int]]


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
