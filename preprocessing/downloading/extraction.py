"""Taking the expected files out of a zip archive, and nothing else."""

from __future__ import annotations

import os
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from configs.command_line import CommandError
from preprocessing.downloading.data_sets import RemoteFile

_MOST_GROWTH = 100
"""Text of numbers shrinks to a tenth at best; what grows more is made to fill a disk."""


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
        path out of the folder, a name that occurs twice, or an enormous member.
    """
    wanted = {**remote.members, **remote.optional_members}
    extracted = []
    try:
        with zipfile.ZipFile(archive) as opened:
            present = _checked_names(archive, opened, wanted.keys())
            missing = sorted(remote.members.keys() - present)
            if missing:
                raise CommandError(
                    f"{archive.name}: lacks {', '.join(missing)}; it holds "
                    f"{', '.join(sorted(opened.namelist())[:20])}"
                )
            for member, name in wanted.items():
                if member in present:
                    target = folder / name
                    with opened.open(member) as source, target.open("wb") as file:
                        shutil.copyfileobj(source, file, 1 << 20)
                        file.flush()
                        os.fsync(file.fileno())
                    extracted.append(target)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise CommandError(f"{archive.name}: not a whole zip archive ({error})") from error
    return extracted


def _checked_names(archive: Path, opened: zipfile.ZipFile, wanted: object) -> set[str]:
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
