"""Scores of a part: written batch by batch, and read in any order that a metric needs."""

from __future__ import annotations

import glob
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.command_line import CommandError
from configs.files import replaced_when_complete

if TYPE_CHECKING:
    import duckdb


def with_whole_groups(batches: Iterator[pa.RecordBatch], column: str) -> Iterator[pa.RecordBatch]:
    """Batches cut where the column's value changes; rows come sorted by it."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        values = batch.column(column)
        if batch.num_rows == 0:
            continue
        last = pc.index(values, values[-1]).as_py()
        # The last value may go on in the next batch; all before it is complete.
        if last > 0 or (held and held[-1].column(column)[-1] != values[0]):
            yield _one_batch([*held, batch.slice(0, last)])
            held = []
        held.append(batch.slice(last))
    if held:
        yield _one_batch(held)


def _one_batch(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches([batch for batch in batches if batch.num_rows])


def numbers_of_groups(values: pa.Array) -> np.ndarray:
    """Sorted values -> int64, 0 for rows with the first value, 1 for those with the second."""
    changes = pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
    return np.r_[0, np.cumsum(changes)].astype(np.int64)


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
    tables = iter(tables)
    first = next(tables, None)
    if first is None:
        raise ValueError("there is no table to write")
    rows = 0
    with (
        replaced_when_complete(path) as partial,
        pq.ParquetWriter(partial, first.schema) as writer,
    ):
        for group in _row_groups(itertools.chain([first], tables)):
            writer.write_table(group, row_group_size=_ROW_GROUP)
            rows += group.num_rows
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


ROW = "row"
"""The number of a row in the file, from 0, which every table has as a column."""

_BATCH = 2**17

Batch = Mapping[str, np.ndarray]
"""Columns of some rows, by name."""


@dataclass(frozen=True)
class _Key:
    column: str
    count: int


class ScoreTable:
    """The rows of a file of scores, or of a table in memory. Close it, or use it in a `with`.

    Attributes:
      num_rows: number of rows.
    """

    def __init__(
        self,
        source: Path | pa.Table,
        memory_megabytes: int = 1024,
        threads: int = 2,
        folder: str | Path | None = None,
    ):
        """Opens the scores.

        Args:
          source: a Parquet file, or a table.
          memory_megabytes: what a sort may hold in memory; the rest of it goes to disk.
          threads: threads that sort.
          folder: where a temporary folder for sorting is made; the system's if left out.
        """
        import duckdb

        self._spilled = tempfile.TemporaryDirectory(prefix="sorting_", dir=folder)
        self._connection = duckdb.connect(
            config={
                "memory_limit": f"{memory_megabytes}MB",
                "threads": threads,
                "temp_directory": self._spilled.name,
                "preserve_insertion_order": False,
                # All that is needed is built in; nothing is to be downloaded.
                "autoinstall_known_extensions": False,
            }
        )
        if isinstance(source, Path):
            # Or brackets and stars of a path would be a pattern.
            text = glob.escape(str(source)).replace("'", "''")
            file = f"read_parquet('{text}', file_row_number = true)"
            self._connection.execute(
                f"CREATE VIEW scores AS SELECT *, file_row_number AS {ROW} FROM {file}"
            )
        else:
            rows = np.arange(source.num_rows)
            self._connection.register("scores", source.append_column(ROW, pa.array(rows)))
        ((self.num_rows,),) = self._query("SELECT count(*) FROM scores").fetchall()
        self._keys: dict[str, _Key] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the work and removes what was on disk for it."""
        self._connection.close()
        self._spilled.cleanup()

    def counts(self, column: str) -> tuple[pa.Array, np.ndarray]:
        """The distinct values of a column in ascending order, and how many rows have each."""
        name = _quoted(column)
        counted = self._query(
            f"SELECT {name} AS value, count(*) AS rows FROM scores GROUP BY 1 ORDER BY 1"
        ).to_arrow_table()
        return counted["value"].combine_chunks(), counted["rows"].to_numpy()

    def add_key(self, name: str, column: str, values: pa.Array) -> None:
        """Gives every row the place that the value of a column has among some values.

        Args:
          name: of the new column, for `batches`.
          column: the column.
          values: distinct values of the column's type. Rows with none of them get `len(values)`.
        """
        self._connection.register(
            f"key_{name}",
            pa.table({"value": values, "place": pa.array(np.arange(len(values)), pa.int32())}),
        )
        self._keys[name] = _Key(column, len(values))

    def batches(
        self,
        columns: Mapping[str, str] | Sequence[str],
        order_by: Sequence[str] = (),
        whole: str | None = None,
    ) -> Iterator[Batch]:
        """All rows.

        Args:
          columns: names of columns and keys, or new name -> name of a column or key.
          order_by: columns by which rows are sorted; rows that are equal in these, and all rows
            without one, come in any order.
          whole: a column by which rows are sorted first of all: rows with the same value are all in
            the same batch, where a number of the value, from 0, stands in the value's place.

        Yields:
          Columns of some rows.

        Raises:
          CommandError: the memory limit or the disk is too small.
        """
        sources = dict(columns) if isinstance(columns, Mapping) else {c: c for c in columns}
        selected = [f"{self._value(source)} AS {_quoted(name)}" for name, source in sources.items()]
        joins = [self._join(name) for name in self._keys if name in sources.values()]
        sorting = [*([whole] if whole else []), *order_by]
        order = f"ORDER BY {', '.join(map(_quoted, sorting))}" if sorting else ""
        reader = self._read(f"SELECT {', '.join(selected)} FROM scores {' '.join(joins)} {order}")
        for batch in reader if whole is None else with_whole_groups(reader, whole):
            yield {
                name: numbers_of_groups(column)
                if name == whole
                else column.to_numpy(zero_copy_only=False)
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }

    def _value(self, source: str) -> str:
        """SQL of a column or key."""
        if source not in self._keys:
            return f"scores.{_quoted(source)}"
        return f"coalesce({_key_table(source)}.place, {self._keys[source].count})"

    def _join(self, key: str) -> str:
        column = _quoted(self._keys[key].column)
        return f"LEFT JOIN {_key_table(key)} ON scores.{column} = {_key_table(key)}.value"

    def _read(self, query: str) -> Iterator[pa.RecordBatch]:
        import duckdb

        try:
            yield from self._query(query).to_arrow_reader(_BATCH)
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            reason = str(error).splitlines()[0]
            raise CommandError(
                f"the scores cannot be sorted ({reason}); raise evaluation.memory_megabytes, or "
                f"name a folder with more space in TMPDIR (now {self._spilled.name})"
            ) from error

    def _query(self, text: str) -> duckdb.DuckDBPyRelation:
        return self._connection.sql(text)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _key_table(name: str) -> str:
    """SQL name of the table of a key's values and their places."""
    return _quoted(f"key_{name}")
