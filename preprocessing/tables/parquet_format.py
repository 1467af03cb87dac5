"""Parquet: row groups, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.inputs import is_of_system
from preprocessing.storage import open_bytes
from preprocessing.tables.blocks import FilePart, ParsedBlock, TableFile
from preprocessing.tables.values import is_readable

_ROWS_PER_PART = 1 << 18
_ROWS_PER_BATCH = 1 << 16


def read_schema(name: str, path: str, key: str) -> tuple[pa.Schema, list[int]]:
    """Columns of a file, and the number of rows of each row group.

    Args:
      name: the file as people know it.
      path: absolute path or URL.
      key: configuration key that names it, for the error message.

    Raises:
      ConfigurationError: it is not a Parquet file.
    """
    try:
        with open_bytes(path) as source:
            file = pq.ParquetFile(source)
            groups = range(file.metadata.num_row_groups)
            return file.schema_arrow, [file.metadata.row_group(group).num_rows for group in groups]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if is_of_system(error):
            raise
        raise ConfigurationError(f"{key}: {name}: not a Parquet file ({_shown(error)})") from error


def require_readable(schema: pa.Schema, wanted: Mapping[str, str], name: str) -> None:
    """Checks the types of the mapped columns.

    Args:
      schema: columns of the file.
      wanted: configuration key -> column.
      name: the file as people know it.

    Raises:
      ConfigurationError: a column holds structures.
    """
    for key, column in wanted.items():
        column_type = schema.field(column).type
        if not is_readable(column_type):
            raise ConfigurationError(
                f"{key}: column '{column}' of {name} has the type {column_type}; "
                "a value or a list of values is needed"
            )


def parts_of_file(file: int, rows_of_group: Sequence[int]) -> list[FilePart]:
    """Divides a file into parts of some hundred thousand rows, each of whole row groups."""
    parts: list[FilePart] = []
    groups: list[int] = []
    first, rows = 1, 0
    for group, count in enumerate(rows_of_group):
        groups.append(group)
        rows += count
        if rows >= _ROWS_PER_PART or group == len(rows_of_group) - 1:
            parts.append(FilePart(file, first, tuple(groups)))
            first, rows, groups = first + rows, 0, []
    return parts


def parse_row_groups(
    part: FilePart, file: TableFile, columns: Sequence[str]
) -> Iterator[ParsedBlock]:
    """Reads the wanted columns of some row groups.

    Args:
      part: which row groups.
      file: the file they are in.
      columns: the wanted columns, each once.

    Yields:
      Batches of rows in their order.

    Raises:
      CommandError: the file is damaged or gone.
    """
    first = part.first_line
    try:
        with open_bytes(file.path) as source:
            batches = pq.ParquetFile(source).iter_batches(
                _ROWS_PER_BATCH,
                row_groups=list(part.row_groups),
                columns=list(columns),
                use_threads=False,
            )
            for batch in batches:
                batch.validate(full=True)  # texts that are not UTF-8 read well until they are used
                table = pa.Table.from_batches([batch]).select(list(columns))
                lines = np.arange(first, first + batch.num_rows, dtype=np.int64)
                first += batch.num_rows
                yield ParsedBlock(file, table, lines, [], batch.num_rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"{file.name}: the Parquet file cannot be read ({_shown(error)})"
        ) from error


def _shown(error: Exception) -> str:
    return " ".join(str(error).split())
