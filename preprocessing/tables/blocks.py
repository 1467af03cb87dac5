"""What a table is cut into: parts of files, blocks of a part, and the records of a block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from preprocessing.dead_letters import DeadLetter


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
    """

    file: TableFile
    table: pa.Table
    lines: np.ndarray
    dead_letters: list[DeadLetter]
    records: int

    def places(self) -> list[pa.Array]:
        """[rows] index of the file and [rows] line."""
        file = pa.repeat(pa.scalar(self.file.index, pa.int32()), len(self.lines))
        return [file, pa.array(self.lines)]
