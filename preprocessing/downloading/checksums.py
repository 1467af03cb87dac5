"""Checksums of a fetched file, and what its publisher says they are."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import requests

from configs.command_line import CommandError
from preprocessing.downloading.data_sets import RemoteFile

_READ_BYTES = 1 << 20
_MD5 = re.compile(r"\b[0-9a-fA-F]{32}\b")
_TIMEOUT_SECONDS = 30
_LONGEST_CHECKSUM_FILE = 4096


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
    found = _MD5.search(response.text[:_LONGEST_CHECKSUM_FILE]) if response.ok else None
    return found[0].lower() if found else None


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
