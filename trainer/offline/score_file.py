"""The file of scores that an evaluation reads: Parquet, written batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_ROW_GROUP = 2**17


def write_scores(path: Path, tables: Iterable[pa.Table]) -> int:
    """Writes tables of the same columns below each other; memory holds one row group of them.

    The file takes its place when it is complete; an older one stays until then.

    Args:
      path: the Parquet file.
      tables: at least one.

    Returns:
      Number of rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    rows = 0
    writer: pq.ParquetWriter | None = None
    try:
        for group in _row_groups(tables):
            if writer is None:
                writer = pq.ParquetWriter(unfinished, group.schema)
            writer.write_table(group, row_group_size=_ROW_GROUP)
            rows += group.num_rows
        if writer is None:
            raise ValueError("there is no table to write")
        writer.close()
        unfinished.rename(path)
    finally:
        if writer is not None:
            writer.close()
        unfinished.unlink(missing_ok=True)
    return rows


def _row_groups(tables: Iterable[pa.Table]) -> Iterable[pa.Table]:
    gathered: list[pa.Table] = []
    rows = 0
    for table in tables:
        gathered.append(table)
        rows += table.num_rows
        if rows >= _ROW_GROUP:
            yield pa.concat_tables(gathered)
            gathered, rows = [], 0
    if gathered:
        yield pa.concat_tables(gathered)
