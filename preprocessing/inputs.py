"""Input files: found, whole and fingerprinted before any work starts."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, cast

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.hashing import file_sha256

_READ_BYTES = 1 << 20


def open_input(path: str | Path) -> BinaryIO:
    """Opens a file for reading bytes; `.gz` files are decompressed."""
    path = Path(path)
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def fingerprint_inputs(files: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of every input file.

    Args:
      files: path -> the configuration key that names it.

    Raises:
      ConfigurationError: a file does not exist.
      CommandError: a `.gz` file is cut off or damaged.
    """
    hashes = {}
    for path, key in sorted(files.items()):
        if not Path(path).is_file():
            raise ConfigurationError(
                f"{key}: there is no file '{path}' (relative paths start at {Path.cwd()})"
            )
        _check_whole(path)
        hashes[path] = file_sha256(Path(path))
    return hashes


def _check_whole(path: str) -> None:
    if not path.endswith(".gz"):
        return
    try:
        with open_input(path) as file:
            while file.read(_READ_BYTES):
                pass
    except EOFError as error:
        raise CommandError(f"{path}: the file is cut off; copy or download it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CommandError(f"{path}: not a valid .gz file ({error})") from error
