"""The version of the code that made a result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def code_version(folders: Iterable[Path], suffixes: tuple[str, ...] = (".py",)) -> str:
    """SHA-256 over the names and bytes of source files.

    Args:
      folders: searched with everything below them.
      suffixes: which files count.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in suffixes and path.is_file():
                name = path.relative_to(folder.parent).as_posix()
                digest.update(f"{name}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
