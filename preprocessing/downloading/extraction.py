"""Taking the expected files out of a zip archive, and nothing else."""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from configs.command_line import CommandError
from preprocessing.downloading.data_sets import RemoteFile

_MOST_GROWTH = 100
"""Text of numbers shrinks to a tenth at best; what grows more is made to fill a disk."""

_READ_BYTES = 1 << 20


def extract(archive: Path, remote: RemoteFile, folder: Path) -> list[Path]:
    """Extracts the members that the table names, under the names that the table gives them.

    Args:
      archive: the zip file.
      remote: says which members are expected.
      folder: an existing folder.

    Returns:
      The files.

    Raises:
      CommandError: the archive is damaged, lacks a member, or is not what a publisher makes: a
        path out of the folder, a name that occurs twice, an encrypted or an enormous member.
    """
    wanted = {**remote.members, **remote.optional_members}
    extracted = []
    try:
        with zipfile.ZipFile(archive) as opened:
            present = _checked_names(archive, opened)
            missing = sorted(remote.members.keys() - present)
            if missing:
                raise CommandError(
                    f"{archive.name}: lacks {', '.join(missing)}; it holds "
                    f"{', '.join(sorted(opened.namelist())[:20])}"
                )
            for member, name in wanted.items():
                if member in present:
                    target = folder / name
                    with target.open("wb") as file:
                        file.writelines(_content(opened, member))
                        file.flush()
                        os.fsync(file.fileno())
                    extracted.append(target)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise CommandError(f"{archive.name}: not a whole zip archive ({error})") from error
    return extracted


def _content(opened: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    """Yields the bytes of a member.

    Raises:
      zipfile.BadZipFile: they are damaged, encrypted or compressed in an unknown way.
    """
    # Apart from the writing, because damage to bzip2 is an OSError, as a full disk is.
    try:
        with opened.open(member) as source:
            while block := source.read(_READ_BYTES):
                yield block
    except (RuntimeError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise zipfile.BadZipFile(f"'{member}': {error}") from error


def _checked_names(archive: Path, opened: zipfile.ZipFile) -> set[str]:
    """Names of the members.

    Raises:
      CommandError: the archive is not what a publisher makes.
    """
    size = archive.stat().st_size
    names: set[str] = set()
    for member in opened.infolist():
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise CommandError(
                f"{archive.name}: refused, because a member's path leads out of the folder: "
                f"'{member.filename}'"
            )
        if member.filename in names:
            raise CommandError(f"{archive.name}: refused, two members '{member.filename}'")
        if member.file_size > _MOST_GROWTH * size:
            raise CommandError(
                f"{archive.name}: refused, because '{member.filename}' would grow to "
                f"{member.file_size:,} bytes"
            )
        names.add(member.filename)
    return names
