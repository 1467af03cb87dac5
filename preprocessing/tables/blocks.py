"""What a table is cut into: files, their parts, blocks of whole lines, wanted columns."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from configs.command_line import CommandError
from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing import storage
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.downloading.data_sets import missing_data_advice
from preprocessing.inputs import COMPRESSED_SUFFIXES, nothing_at, open_input
from preprocessing.records.forgotten import NOTHING_FORGOTTEN, Forgotten


@dataclass(frozen=True)
class TableFile:
    """One file of a table.

    Attributes:
      index: its place among the table's files.
      name: how the configuration or its pattern names it, for people.
      path: absolute path or URL.
      format: "csv", "parquet" or "jsonl".
      columns: all column names in order; empty for JSON lines, whose records name their own.
      stored_bytes: size as the file lies there.
    """

    index: int
    name: str
    path: str
    format: str
    columns: tuple[str, ...]
    stored_bytes: int


@dataclass(frozen=True)
class FilePart:
    """A part of a file that is read on its own.

    Attributes:
      file: index of the file.
      first_line: number of its first line or row in the file, counted from 1.
      row_groups: Parquet: the row groups; empty for other formats, whose part is the whole file.
    """

    file: int
    first_line: int = 1
    row_groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class LineBlock:
    """Some whole lines of a text file.

    Attributes:
      file: index of the file.
      first_line: number of the first line in the file, counted from 1.
      data: the lines in UTF-8, whatever the encoding of the file.
    """

    file: int
    first_line: int
    data: bytes


Block = LineBlock | FilePart
"""Lines that were read, or a part of a Parquet file that parsing will read."""


@dataclass(frozen=True)
class ParsedBlock:
    """Records of a block.

    Attributes:
      file: the file they are from.
      table: [rows] the wanted columns, of the types that the file gives: text in CSV files, and
        numbers, times or lists as well in others. `preprocessing.tables.values` reads them all.
      lines: [rows] int64 line of each row (in a Parquet file, its row), counted from 1.
      dead_letters: lines that are not records of the right shape.
      records: number of records read; rows and dead letters add up to it.
      forgotten: users and items whose rows are rejected.
    """

    file: TableFile
    table: pa.Table
    lines: np.ndarray
    dead_letters: list[DeadLetter]
    records: int
    forgotten: Forgotten = NOTHING_FORGOTTEN

    def places(self) -> list[pa.Array]:
        """[rows] index of the file and [rows] line."""
        file = pa.repeat(pa.scalar(self.file.index, pa.int32()), len(self.lines))
        return [file, pa.array(self.lines)]


@dataclass(frozen=True)
class WantedColumns:
    """Which columns are wanted, and by which keys.

    Attributes:
      by_key: configuration key -> column.
      optional: those keys that may be null.
    """

    by_key: Mapping[str, str]
    optional: frozenset[str] = field(default_factory=frozenset)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, each once."""
        return tuple(dict.fromkeys(self.by_key.values()))

    def require_in(self, columns: Sequence[str], file: str) -> None:
        """Checks that a file has the columns, once each.

        Args:
          columns: column names of the file.
          file: its name, for the error message.

        Raises:
          ConfigurationError: a column does not exist or exists twice.
        """
        for key, column in self.by_key.items():
            if column not in columns:
                raise ConfigurationError(
                    f"{key}: {file} has no column '{column}'. Its columns: "
                    f"{', '.join(map(_shown, columns))}{self.way_out(key)}"
                )
            if columns.count(column) > 1:
                raise ConfigurationError(f"{key}: {file} has more than one column '{column}'")

    def way_out(self, key: str) -> str:
        """How to say that there is no such column, for the end of an error message."""
        return f". Write '{key}: null' if there is none" if key in self.optional else ""


def _shown(column: str) -> str:
    """A column as it is named, in quotes where blanks around it would not be seen."""
    return column if column == column.strip() else repr(column)


_FORMATS = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


def expand_paths(paths: Iterable[str], key: str) -> list[str]:
    """The files that paths and glob patterns mean, each once.

    Args:
      paths: in the order in which their files are read; files of a pattern come sorted by name.
      key: configuration key that names them, for the error message.

    Raises:
      ConfigurationError: a path or pattern means no file.
    """
    files: dict[str, None] = {}
    for path in paths:
        matches = storage.matching_files(path)
        if not matches:
            problem = nothing_at(path, takes_patterns=True, advice=missing_data_advice(path))
            raise ConfigurationError(f"{key}: {problem}")
        files |= dict.fromkeys(matches)
    return list(files)


def format_of(table: Table, path: str, key: str) -> str:
    """Format of one file: csv, parquet or jsonl.

    Raises:
      ConfigurationError: a Parquet file is compressed from outside.
    """
    inner, compressed = _without_compression(path)
    format_name: str = table.format
    if format_name == "auto":
        format_name = _FORMATS.get(PurePosixPath(inner.lower()).suffix, "csv")
    if format_name == "parquet" and compressed:
        raise ConfigurationError(
            f"{key}: {path}: Parquet files are compressed inside and read out of order; unpack it"
        )
    return format_name


def separator_of(table: Table, path: str) -> str:
    """What stands between the fields of a CSV file: as configured, else by its name."""
    if table.separator is not None:
        return table.separator
    inner, _ = _without_compression(path)
    return "\t" if inner.lower().endswith(".tsv") else ","


def _without_compression(path: str) -> tuple[str, bool]:
    for suffix in COMPRESSED_SUFFIXES:
        if path.endswith(suffix):
            return path.removesuffix(suffix), True
    return path, False


BLOCK_BYTES = 4 << 20
_LONGEST_LINE = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KEEP_INVALID = "reki_keep_invalid"


def _lone_surrogate(error: UnicodeError) -> tuple[str, int]:
    """Error handler that puts a lone surrogate, which no text holds, where text cannot be read."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_KEEP_INVALID, _lone_surrogate)


def require_text_encoding(encoding: str, key: str) -> None:
    """Checks the name of an encoding.

    Raises:
      ConfigurationError: Python has no text encoding of that name.
    """
    try:
        "".encode(encoding)
    except (LookupError, ValueError) as error:
        raise ConfigurationError(
            f"{key}: '{encoding}' is not a text encoding (for example utf-8, latin-1, cp1252)"
        ) from error


def read_line_blocks(
    file: TableFile,
    encoding: str,
    block_bytes: int = BLOCK_BYTES,
    *,
    whole_records: Callable[[bytes], int] = len,
) -> Generator[LineBlock, None, None]:
    """Yields the lines of a file in blocks of about `block_bytes`, at least one.

    Args:
      file: the file.
      encoding: of its text.
      block_bytes: size of a block.
      whole_records: some whole lines -> where the last record ends that ends in them; the lines
        behind it go into the next block.

    Raises:
      CommandError: a line is longer than 64 MB.
      OSError: the file cannot be read.
    """
    first_line = 1
    pending: list[bytes] = []
    for chunk in _utf8_chunks(file.path, encoding, block_bytes):
        whole, newline, tail = chunk.rpartition(b"\n")
        if newline:
            data = b"".join([*pending, whole, newline])
            end = whole_records(data)
            if end:
                yield LineBlock(file.index, first_line, data[:end])
                first_line += data.count(b"\n", 0, end)
            pending = [data[end:]]
        pending.append(tail)
        if sum(map(len, pending)) > _LONGEST_LINE:
            raise CommandError(
                f"{file.name}: line {first_line} is longer than {_LONGEST_LINE >> 20} MB; "
                "a table has one record on each line"
            )
    rest = b"".join(pending)
    if rest or first_line == 1:
        yield LineBlock(file.index, first_line, rest)


def _utf8_chunks(path: str, encoding: str, block_bytes: int) -> Iterator[bytes]:
    chunks = _stored_chunks(path, block_bytes)
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig", "ascii"):
        chunks = _transcoded(chunks, encoding)
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_BYTE_ORDER_MARK):
            break
    yield start.removeprefix(_BYTE_ORDER_MARK)
    yield from chunks


def _stored_chunks(path: str, block_bytes: int) -> Iterator[bytes]:
    with open_input(path) as file:
        while chunk := file.read(block_bytes):
            yield chunk


def _transcoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors=_KEEP_INVALID)
    for chunk in chunks:
        yield decoder.decode(chunk).encode(errors="surrogatepass")
    yield decoder.decode(b"", final=True).encode(errors="surrogatepass")


def is_text(data: bytes) -> bool:
    """True for valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def invalid_text(
    file: TableFile, line: int, encoding: str, error: UnicodeDecodeError
) -> DeadLetter:
    """Dead letter of a line that is not text of the file's encoding."""
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        detail = f"{error.reason} at byte {error.start}"
        return dead_letter(file.name, line, "invalid_utf8", detail)
    return dead_letter(file.name, line, "invalid_encoding", f"not {encoding} text")


def line_numbers(block: LineBlock, data: bytes) -> np.ndarray:
    """[lines] int64 number of each line of a block without blank lines."""
    count = data.count(b"\n") + (not data.endswith(b"\n"))
    return np.arange(block.first_line, block.first_line + count, dtype=np.int64)
