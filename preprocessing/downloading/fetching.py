"""A publisher's file: fetched over HTTP, compared with its checksum, its members taken out.

What has come lies in NAME.partial, and in NAME.json what the server said about the file. A second
try asks for the rest with `Range` and `If-Range` (RFC 9110, 13.1.5 and 14.2): a server whose file
has changed in the meantime sends all of it, and the first part is thrown away. From a server that
sends no validator, neither a strong ETag nor a date, every try begins at the first byte.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import requests
import urllib3

from configs.command_line import CommandError, say
from configs.progress import progress
from preprocessing.downloading.data_sets import RemoteFile

_TIMEOUT_SECONDS = (15, 60)
_READ_BYTES = 1 << 18
_TRIES_WITHOUT_PROGRESS = 3
_LONGEST_DELAY_SECONDS = 30.0
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "reki-tensorflow"}
_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE, _FIRST_SERVER_ERROR = 200, 206, 416, 500
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_MD5 = re.compile(r"\b[0-9a-fA-F]{32}\b")
_LONGEST_CHECKSUM_FILE = 4096
_MOST_GROWTH = 100
"""Text of numbers shrinks to a tenth at best; what grows more is made to fill a disk."""


class NotThere(Exception):
    """An address cannot be reached or does not hand out the file; the message says why."""


class _Interrupted(Exception):
    """The connection ended early; the message says how."""


@dataclass(frozen=True)
class _Begun:
    """What the server said about a partial file.

    Attributes:
      address: where the first part came from.
      validator: ETag or date by which the server knows the same content again; "" for none.
      total: bytes of the whole file; None if the server did not say.
    """

    address: str
    validator: str
    total: int | None


def fetch(remote: RemoteFile, folder: Path, delay_seconds: float = 1.0) -> tuple[Path, str]:
    """Fetches a file from the first of its addresses that has it.

    Args:
      remote: the file.
      folder: where it and its partial state belong.
      delay_seconds: before the first repetition; doubles with each.

    Returns:
      The file, and the address that it came from.

    Raises:
      NotThere: no address has it, or the connections end early again and again and nothing of it
        can be kept.
      CommandError: the connection ends early again and again, what came is kept; or the disk is
        too small.
    """
    complete = folder / remote.name
    begun = _begun(complete)
    if begun is not None and begun.address in remote.addresses and complete.exists():
        return complete, begun.address
    complete.unlink(missing_ok=True)
    problems = []
    for address in sorted(remote.addresses, key=lambda address: not _is_from(begun, address)):
        try:
            _fetch_from(address, remote, complete, delay_seconds)
        except NotThere as error:
            problems.append(str(error))
            continue
        return complete, address
    raise NotThere("\n".join(problems))


def _fetch_from(address: str, remote: RemoteFile, complete: Path, delay_seconds: float) -> None:
    partial = _partial(complete)
    failures = 0
    while True:
        before = _kept(address, complete)
        try:
            _receive(address, complete)
            break
        except _Interrupted as error:
            kept = _kept(address, complete)
            failures = 0 if kept > before else failures + 1
            if failures == _TRIES_WITHOUT_PROGRESS:
                if not kept:
                    begin = "; the next run begins at byte 0, because the server sends no validator"
                    problem = f"{error}{begin if _size(partial) else ''}"
                    raise NotThere(f"{address}: {problem}") from error
                raise CommandError(
                    f"{address}: {error}; {kept:,} bytes are kept. Run the same command again to "
                    "go on from there"
                ) from error
            say(f"{remote.name}: {error}; trying again from byte {kept:,}")
            time.sleep(min(_LONGEST_DELAY_SECONDS, delay_seconds * 2.0**failures))
    with partial.open("rb") as file:
        beginning = file.read(len(remote.magic))
    if beginning != remote.magic:
        _forget(complete)
        raise NotThere(f"{address}: sends something else than {remote.name}, perhaps a web page")
    os.replace(partial, complete)


def _receive(address: str, complete: Path) -> None:
    """Asks once and appends what comes.

    Raises:
      NotThere: the server does not answer or does not have the file.
      _Interrupted: the connection ended early, or the server is busy.
    """
    partial, begun = _partial(complete), _begun(complete)
    headers = dict(_HEADERS)
    if begun is not None and _is_from(begun, address) and begun.total == _size(partial):
        return
    kept = _kept(address, complete)
    if begun is not None and kept:
        headers |= {"Range": f"bytes={kept}-", "If-Range": begun.validator}
    else:
        _forget(complete)
    try:
        response = requests.get(address, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS)
    except requests.RequestException as error:
        if kept:
            raise _Interrupted(f"cannot connect ({_cause(error)})") from error
        raise NotThere(f"{address}: cannot be reached ({_cause(error)})") from error
    with response:
        total = _total_size(response, complete, address)
        _require_space(complete.parent, (total or 0) - _size(partial), address)
        _append(response, partial, total)


def _total_size(response: requests.Response, complete: Path, address: str) -> int | None:
    """Size of the whole file, None if the server does not say; notes what it is."""
    status, have = response.status_code, _size(_partial(complete))
    if status == _PARTIAL:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != have:
            _forget(complete)
            raise _Interrupted("the server sent another part than the one asked for")
        return int(match[2])
    if status == _RANGE_NOT_SATISFIABLE:
        _forget(complete)
        raise _Interrupted("the server's file is shorter than what was fetched of it before")
    if status >= _FIRST_SERVER_ERROR:
        raise _Interrupted(f"HTTP {status} {response.reason}")
    if status != _OK:
        raise NotThere(f"{address}: HTTP {status} {response.reason}")
    _forget(complete)
    _partial(complete).touch()
    # A weak ETag does not promise the same bytes.
    tag = response.headers.get("ETag", "")
    validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    record = json.dumps(asdict(_Begun(address, validator, total)))
    _state(complete).write_text(record, encoding="utf-8")
    return total


def _append(response: requests.Response, partial: Path, total: int | None) -> None:
    have = _size(partial)
    name = partial.name.removesuffix(".partial")
    with (
        partial.open("ab") as file,
        progress(total=total, initial=have, desc=name, unit="B", unit_scale=True) as bar,
    ):
        try:
            # Not decoded: some servers call a .gz file the gzip encoding of another file.
            for block in response.raw.stream(_READ_BYTES, decode_content=False):
                file.write(block)
                bar.update(len(block))
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _Interrupted(f"the connection ended early ({type(error).__name__})") from error
    if total is not None and _size(partial) != total:
        raise _Interrupted(f"{_size(partial):,} of {total:,} bytes came")


def _require_space(folder: Path, needed: int, address: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise CommandError(
            f"{address}: {needed / 1e9:.1f} GB are to come, and {folder} has "
            f"{free / 1e9:.1f} GB left; name another folder with --out"
        )


def _begun(complete: Path) -> _Begun | None:
    try:
        return _Begun(**json.loads(_state(complete).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_from(begun: _Begun | None, address: str) -> bool:
    return begun is not None and begun.address == address


def _kept(address: str, complete: Path) -> int:
    """Bytes that the next try at an address need not fetch again."""
    begun = _begun(complete)
    resumable = begun is not None and _is_from(begun, address) and begun.validator
    return _size(_partial(complete)) if resumable else 0


def _forget(complete: Path) -> None:
    _partial(complete).unlink(missing_ok=True)
    _state(complete).unlink(missing_ok=True)


def _partial(complete: Path) -> Path:
    return complete.with_name(f"{complete.name}.partial")


def _state(complete: Path) -> Path:
    return complete.with_name(f"{complete.name}.json")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _cause(error: Exception) -> str:
    """The innermost reason, which is what tells people something."""
    cause: BaseException = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    return f"{type(cause).__name__}: {cause}"


@dataclass(frozen=True)
class Checksums:
    """Checksums of one file.

    Attributes:
      bytes: its size.
      md5: what publishers of data compare with; no protection against intent.
      sha256: what our records keep.
    """

    bytes: int
    md5: str
    sha256: str


def file_checksums(path: Path) -> Checksums:
    """Reads a file once for all its checksums."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            md5.update(block)
            sha256.update(block)
            size += len(block)
    return Checksums(size, md5.hexdigest(), sha256.hexdigest())


def published_md5(remote: RemoteFile, address: str) -> str | None:
    """The publisher's MD5: a known one, or the one beside the file; None if there is none.

    Args:
      remote: the file.
      address: where it came from.
    """
    if remote.md5 is not None or not remote.md5_beside:
        return remote.md5
    try:
        response = requests.get(f"{address}.md5", timeout=_TIMEOUT_SECONDS)
    except requests.RequestException:
        return None
    match = _MD5.search(response.text[:_LONGEST_CHECKSUM_FILE]) if response.ok else None
    return match[0].lower() if match else None


def require_md5(path: Path, actual: Checksums, published: str, address: str) -> None:
    """Compares with the publisher's MD5; a file that differs is removed.

    Raises:
      CommandError: it differs.
    """
    if actual.md5 != published:
        path.unlink()
        raise CommandError(
            f"{address}: what came has the MD5 {actual.md5}, its publisher says {published}; it "
            "was removed. Run the command again; if it fails again, the address is not serving "
            "the publisher's file"
        )


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
