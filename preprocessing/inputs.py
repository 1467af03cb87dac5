"""Input files: opened, decompressed, and their checksums taken before any work starts."""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import json
import lzma
import zlib
from collections.abc import Iterator, Mapping
from glob import has_magic
from pathlib import Path
from typing import BinaryIO, cast

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing import storage

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
"""Ends of the names of files that are decompressed while they are read."""

PARQUET_SUFFIX = ".parquet"
LONGEST_LINE = 8 << 20
"""Bytes of the longest line of a file of records: a decompressed line may have any length."""

_READ_BYTES = 1 << 20
_PARQUET_ROWS = 256


def open_input(path: str | Path) -> BinaryIO:
    """Opens a file or URL for reading bytes; `.gz`, `.bz2`, `.xz` and `.zst` are decompressed.

    Reading raises CommandError where a compressed file is cut off or damaged.

    Raises:
      OSError: the file cannot be read.
    """
    path = str(path)
    return _decompressed(path, storage.open_bytes(path))


def bounded_lines(path: str | Path) -> Iterator[bytes]:
    """All lines of a file or URL, without their ends, in bounded memory.

    A row of a Parquet file (".parquet") comes as the line of JSON that says the same; fields that
    are null are left out. A line of more than `LONGEST_LINE` bytes comes cut off at one byte more,
    for the reader of the record to refuse; what follows in it is passed over.

    Raises:
      OSError: the file cannot be read.
      CommandError: it is damaged or not a Parquet file, or a column holds what JSON cannot say.
    """
    if str(path).endswith(PARQUET_SUFFIX):
        yield from (row[: LONGEST_LINE + 1] for row in _parquet_rows(str(path)))
        return
    with open_input(path) as file:
        while line := file.readline(LONGEST_LINE + 2):
            if len(line) < LONGEST_LINE + 2 or line.endswith(b"\n"):
                yield line.rstrip(b"\r\n")
                continue
            yield line[: LONGEST_LINE + 1]
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_LINE + 2)


def _parquet_rows(path: str) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with storage.open_bytes(path) as source:
            for batch in pq.ParquetFile(source).iter_batches(_PARQUET_ROWS):
                for row in batch.to_pylist():
                    yield json.dumps(_without_nulls(row), ensure_ascii=False).encode()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if is_of_system(error):
            raise
        raise CommandError(f"{path}: not a Parquet file, or a damaged one ({error})") from error
    except TypeError as error:
        raise CommandError(
            f"{path}: a column holds neither text, numbers, lists nor records of them ({error}); "
            "leave it out"
        ) from error


def is_of_system(error: Exception) -> bool:
    """Whether the operating system refused, in place of a library that cannot read the content.

    A library that goes where a damaged file sends it, before its beginning, is told EINVAL.
    """
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def _without_nulls(value: object) -> object:
    """A row has all fields of its file, those too that only other rows fill."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def input_checksums(files: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of every input file, as it lies there.

    Args:
      files: path or URL -> the configuration key that names it.

    Raises:
      ConfigurationError: a file does not exist.
      CommandError: a compressed file is cut off or damaged.
    """
    hashes = {}
    for path, key in sorted(files.items()):
        matches = storage.matching_files(path)
        if path not in matches:
            raise ConfigurationError(
                f"{key}: '{path}' is a pattern; name each file, for example '{matches[0]}'"
                if matches
                else f"{key}: {nothing_at(path)}"
            )
        hashes[path] = _sha256_of_whole_file(path)
    return hashes


def nothing_at(path: str, takes_patterns: bool = False, advice: str = "") -> str:
    """What is wrong with a path or pattern that means no file; ends with advice if it is none."""
    where = "" if storage.is_url(path) else f" (relative paths start at {Path.cwd()})"
    where += advice
    if has_magic(path):
        return f"no file matches '{path}'{where}"
    if not storage.is_url(path) and Path(path).is_dir():
        pattern = f"its files, for example '{path.rstrip('/')}/*.parquet'"
        return f"'{path}' is a folder; name {pattern if takes_patterns else 'a file in it'}"
    return f"there is no file '{path}'{where}"


def _sha256_of_whole_file(path: str) -> str:
    with storage.open_bytes(path) as file:
        hashed = _Hashed(file)
        if path.endswith(COMPRESSED_SUFFIXES):
            decompressed = _decompressed(path, cast(BinaryIO, hashed))
            while decompressed.read(_READ_BYTES):
                pass
        while hashed.read(_READ_BYTES):
            pass
        return hashed.digest.hexdigest()


class _Hashed(io.RawIOBase):
    """A file whose bytes are hashed as they are read, from its beginning to its end, once."""

    def __init__(self, file: BinaryIO):
        super().__init__()
        self.digest = hashlib.sha256()
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        block = self._file.read(len(buffer))
        self.digest.update(block)
        buffer[: len(block)] = block
        return len(block)

    def tell(self) -> int:
        return self._file.tell()


class _Decompressor(io.RawIOBase):
    """A decompressing stream whose errors name the file."""

    def __init__(self, path: str, stream: io.RawIOBase, file: BinaryIO):
        super().__init__()
        self._path = path
        self._stream = stream
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:  # type: ignore[no-untyped-def]
        try:
            size = self._stream.readinto(buffer)
            # Some decompressors take a file of no bytes for the compressed form of none.
            if not size and not self._file.tell():
                raise EOFError
            return size
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if is_of_system(error):
                raise
            if isinstance(error, EOFError) or "Truncated" in str(error):
                raise CommandError(
                    f"{self._path}: the file is cut off; copy or download it again"
                ) from error
            suffix = Path(self._path).suffix
            raise CommandError(f"{self._path}: not a valid {suffix} file ({error})") from error


class _Decompressed(io.BufferedReader):
    """A decompressing stream that closes the file below it."""

    def __init__(self, stream: io.RawIOBase, file: BinaryIO):
        super().__init__(stream, _READ_BYTES)
        self._file = file

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._file.close()


def _decompressed(path: str, file: BinaryIO) -> BinaryIO:
    if path.endswith(".gz"):
        stream: object = gzip.GzipFile(fileobj=file, mode="rb")
    elif path.endswith(".bz2"):
        stream = bz2.BZ2File(file)
    elif path.endswith(".xz"):
        stream = lzma.LZMAFile(file)
    elif path.endswith(".zst"):
        import pyarrow as pa

        stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    else:
        return file
    decompressor = _Decompressor(path, cast(io.RawIOBase, stream), file)
    return cast(BinaryIO, _Decompressed(decompressor, file))
