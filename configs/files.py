"""Checksums of files, files that appear whole, a folder that one process at a time works in."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from configs.command_line import CommandError
from configs.loading import ConfigurationError

_READ_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def require_folder_name(option: str, folder: Path) -> None:
    """Makes sure that a folder is there or can be made.

    Args:
      option: that names it, for the message.
      folder: the folder.

    Raises:
      ConfigurationError: it, or what should be a folder above it, is a file.
    """
    _require_no_file(option, folder, (folder, *folder.parents))


def require_file_name(option: str, file: Path) -> None:
    """Makes sure that a file can be made or replaced; args as `require_folder_name`'s.

    Raises:
      ConfigurationError: it is a folder, or what should be a folder above it is a file.
    """
    if file.is_dir():
        raise ConfigurationError(f"{option} {file}: this is a folder; name a file")
    _require_no_file(option, file, file.parents)


def _require_no_file(option: str, named: Path, folders: Iterable[Path]) -> None:
    there = next((path for path in folders if path.exists()), None)
    if there is not None and not there.is_dir():
        what = "this" if there == named else there
        raise ConfigurationError(f"{option} {named}: {what} is a file; name a folder")


@contextlib.contextmanager
def errors_name(path: str | Path) -> Iterator[None]:
    """Puts the path of a file that is written into errors that do not name one: a full disk's."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def partial_of(path: Path) -> Path:
    """The hidden name beside a local file's under which it is written until it is complete."""
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def replaced_when_complete(path: Path) -> Iterator[Path]:
    """Gives `partial_of` a local file, which is moved into its place when the block ends well.

    For files that one process at a time writes: what a killed one leaves, the next one overwrites.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with errors_name(path):
            yield partial_of(path)
        os.replace(partial_of(path), path)
    finally:
        partial_of(path).unlink(missing_ok=True)


LOCK_FILE = ".lock"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder until the block, or the process, ends; makes it if it is not there.

    The operating system frees the lock of a killed process.

    Raises:
      CommandError: another process holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"another process is at work in {folder}; wait for its end, or stop it"
            ) from None
        yield
