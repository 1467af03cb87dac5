"""One way to read a table, whatever its files look like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing import storage
from preprocessing.records.forgotten import NOTHING_FORGOTTEN, Forgotten
from preprocessing.tables.blocks import (
    Block,
    FilePart,
    ParsedBlock,
    TableFile,
    WantedColumns,
    expand_paths,
    format_of,
    read_line_blocks,
    require_text_encoding,
)
from preprocessing.tables.csv_format import Dialect, parse_csv, read_column_names, without_header
from preprocessing.tables.json_lines_format import parse_json_lines, require_fields
from preprocessing.tables.parquet_format import (
    parse_row_groups,
    parts_of_file,
    read_schema,
    require_readable,
)


@dataclass(frozen=True)
class TableReader:
    """Reads some columns of a table; small, so that it can travel to workers.

    A worker reads a part of a file into blocks (`read_part`), other workers parse them (`parse`).
    One process alone calls `read`.

    Attributes:
      table: how the files are written.
      columns: the wanted columns, each once.
      files: the files in order.
      parts: parts of all files, in order.
      forgotten: users and items whose rows `usable_ids` rejects.
    """

    table: Table
    columns: tuple[str, ...]
    files: tuple[TableFile, ...]
    parts: tuple[FilePart, ...]
    forgotten: Forgotten = NOTHING_FORGOTTEN

    def without(self, forgotten: Forgotten) -> TableReader:
        """The same reader, for whom these users and items are no rows."""
        return replace(self, forgotten=forgotten)

    @property
    def names(self) -> list[str]:
        """The files by index, as messages and dead letters name them."""
        return [file.name for file in self.files]

    @property
    def stored_bytes(self) -> int:
        """Size of all files as they lie there."""
        return sum(file.stored_bytes for file in self.files)

    def read_part(self, part: FilePart) -> Iterator[Block]:
        """Yields the lines of a part; of a Parquet file the part itself, which `parse` reads."""
        file = self.files[part.file]
        if file.format == "parquet":
            yield part
            return
        if file.format != "csv":
            yield from read_line_blocks(file, self.table.encoding)
            return
        whole_records = Dialect.of_file(self.table, file.name).whole_records
        for block in read_line_blocks(file, self.table.encoding, whole_records=whole_records):
            has_header = self.table.header and block.first_line == 1
            yield without_header(block) if has_header else block

    def parse(self, block: Block) -> Iterator[ParsedBlock]:
        """Yields the records of a block: one result for lines, batches for a Parquet file."""
        file = self.files[block.file]
        parsed: Iterable[ParsedBlock]
        if isinstance(block, FilePart):
            parsed = parse_row_groups(block, file, self.columns)
        elif file.format == "csv":
            dialect = Dialect.of_file(self.table, file.name)
            parsed = [parse_csv(block, file, dialect, self.columns)]
        else:
            parsed = [parse_json_lines(block, file, self.table.encoding, self.columns)]
        for records in parsed:
            yield replace(records, forgotten=self.forgotten)

    def read(self) -> Iterator[ParsedBlock]:
        """Yields all records, in the order of files and lines."""
        for part in self.parts:
            for block in self.read_part(part):
                yield from self.parse(block)


def open_table(table: Table, key: str, wanted: WantedColumns) -> TableReader:
    """Finds the files of a table and checks that they have the mapped columns.

    Args:
      table: where the files are and how they are written.
      key: configuration key that names them, e.g. "data.interactions.path".
      wanted: the mapped columns.

    Raises:
      ConfigurationError: a path or pattern means no file; a file is empty or not of its format, or
        lacks a column; or its header differs from that of the first file.
      CommandError: a line is too long to be one.
      OSError: a file cannot be read.
    """
    require_text_encoding(table.encoding, f"{key.removesuffix('.path')}.encoding")
    files: list[TableFile] = []
    parts: list[FilePart] = []
    for index, name in enumerate(expand_paths(table.paths, key)):
        file, parts_of_this = _open_file(table, key, wanted, index, name)
        parts += parts_of_this
        first = next((other for other in files if other.format == file.format == "csv"), None)
        if first is not None and file.columns != first.columns:
            raise ConfigurationError(
                f"{key}: the header of {name} differs from that of {first.name}: "
                f"{', '.join(file.columns)} instead of {', '.join(first.columns)}"
            )
        files.append(file)
    json_files = [file for file in files if file.format == "jsonl"]
    if json_files:
        require_fields(json_files, table.encoding, wanted, key)
    return TableReader(table, wanted.names, tuple(files), tuple(parts))


def _open_file(
    table: Table, key: str, wanted: WantedColumns, index: int, name: str
) -> tuple[TableFile, list[FilePart]]:
    path, format_name = storage.absolute(name), format_of(table, name, key)
    file = TableFile(index, name, path, format_name, (), storage.size(path))
    if format_name == "jsonl":
        return file, [FilePart(index)]
    if format_name == "csv":
        columns = read_column_names(file, table, key)
        wanted.require_in(columns, name)
        parts = [FilePart(index)]
    else:
        schema, rows_of_group = read_schema(name, path, key)
        columns = tuple(schema.names)
        wanted.require_in(columns, name)
        require_readable(schema, wanted.by_key, name)
        parts = parts_of_file(index, rows_of_group)
    return TableFile(index, name, path, format_name, columns, file.stored_bytes), parts
