"""Files that every worker of a pipeline can reach, by local path or URL.

A local path is a file of this machine or of a file system that all machines mount. A URL such as
`gs://bucket/folder` goes through Beam's file systems, whose connectors come with Beam's extras
(`apache-beam[gcp]`, `[aws]`, `[azure]`, `[hadoop]`).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import BinaryIO, cast

from configs.files import errors_name

_PARTIAL = ".partial"
_UNFINISHED = re.compile(rf"\.[0-9a-f]{{32}}{re.escape(_PARTIAL)}$")


def is_url(path: str | Path) -> bool:
    """True for `scheme://...`."""
    return "://" in str(path)


def absolute(path: str | Path) -> str:
    """The path from the root of the file system, which means the same in every process."""
    return str(path) if is_url(path) else os.path.abspath(path)


def join(folder: str, name: str) -> str:
    """A file in a folder; `name` may hold folders itself, with slashes."""
    return f"{folder.rstrip('/')}/{name}"


def matching_files(pattern: str) -> list[str]:
    """The files that a path or glob pattern means, sorted; empty when there are none."""
    if is_url(pattern):
        return sorted(entry.path for entry in _file_systems().match([pattern])[0].metadata_list)
    if Path(pattern).is_file():
        return [pattern]
    return sorted(filter(os.path.isfile, glob(pattern, recursive=True)))


def open_bytes(path: str) -> BinaryIO:
    """Opens a file for reading, as it lies there.

    Raises:
      OSError: the file cannot be read.
    """
    if is_url(path):
        from apache_beam.io.filesystem import CompressionTypes

        return cast(
            BinaryIO,
            _file_systems().open(path, compression_type=CompressionTypes.UNCOMPRESSED),
        )
    return open(path, "rb")


def size(path: str) -> int:
    """Bytes of a file, as it lies there.

    Raises:
      OSError: the file cannot be read.
    """
    if not is_url(path):
        return os.path.getsize(path)
    with open_bytes(path) as file:
        return file.seek(0, os.SEEK_END)


@contextmanager
def create_bytes(path: str) -> Iterator[BinaryIO]:
    """Opens a file for writing, in place of an older one; a local one appears when it is complete.

    Raises:
      OSError: the file cannot be written.
    """
    if is_url(path):
        from apache_beam.io.filesystem import CompressionTypes

        file = _file_systems().create(path, compression_type=CompressionTypes.UNCOMPRESSED)
        with file:
            yield cast(BinaryIO, file)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # Two attempts at one piece of work may run at the same time, also on two machines that share
    # the folder: each writes a file of its own.
    temporary = f"{path}.{uuid.uuid4().hex}{_PARTIAL}"
    try:
        with errors_name(path), open(temporary, "wb") as local:
            _hold(local)
            yield local
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def is_unfinished(path: str) -> bool:
    """Whether a file is what `create_bytes` leaves of one when its process is killed."""
    return _UNFINISHED.search(path) is not None


def delete_unfinished(folder: str) -> None:
    """Deletes what killed processes left of files in a folder; what is being written stays.

    At a URL there is nothing of the kind.
    """
    if is_url(folder):
        return
    for path in filter(is_unfinished, files_below(folder)):
        with suppress(FileNotFoundError), open(path, "r+b") as file:
            if _hold(file):
                os.unlink(path)


def _hold(file: BinaryIO) -> bool:
    """Locks a file until it is closed or its process ends; whether that could be done."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # Held by another, or on a file system without locks.
        return False
    return True


def files_below(folder: str) -> list[str]:
    """All files of a folder and its subfolders, sorted; empty when there is no such folder."""
    if not is_url(folder):
        return sorted(
            join(directory, name) for directory, _, names in os.walk(folder) for name in names
        )
    # Beam's patterns have no way to quote their special characters.
    pattern = join(re.sub(r"[*?[]", "?", folder), "**")
    return [path for path in matching_files(pattern) if path.startswith(join(folder, ""))]


def delete_file(path: str) -> None:
    """Deletes a file; one that does not exist is no error."""
    if not is_url(path):
        Path(path).unlink(missing_ok=True)
        return
    try:
        _file_systems().delete([path])
    except Exception:  # each object store has its own error for a missing object
        if _file_systems().exists(path):
            raise


def delete_folder(folder: str) -> None:
    """Deletes a folder with all that is in it; one that does not exist is no error."""
    if not is_url(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    files = files_below(folder)
    if files:
        _file_systems().delete(files)


def _file_systems():  # type: ignore[no-untyped-def]
    from apache_beam.io.filesystems import FileSystems

    return FileSystems
