from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.tables import parquet_format
from preprocessing.tables.blocks import FilePart, TableFile
from preprocessing.tables.parquet_format import (
    parse_row_groups,
    parts_of_file,
    read_schema,
    require_readable,
)


def written(tmp_path, table: pa.Table, rows_in_a_group: int = 4) -> TableFile:
    path = str(tmp_path / "t.parquet")
    pq.write_table(table, path, row_group_size=rows_in_a_group)
    return TableFile(0, "t.parquet", path, "parquet", tuple(table.column_names), 0)


TABLE = pa.table({"a": pa.array(range(10)), "b.c": [f"x{number}" for number in range(10)]})


def test_a_file_is_divided_at_its_row_groups(monkeypatch):
    monkeypatch.setattr(parquet_format, "_ROWS_PER_PART", 100)
    assert parts_of_file(3, [60, 60, 500, 10, 10]) == [
        FilePart(3, 1, (0, 1)),
        FilePart(3, 121, (2,)),
        FilePart(3, 621, (3, 4)),
    ]
    assert parts_of_file(0, []) == []


def test_parts_together_are_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_format, "_ROWS_PER_PART", 4)
    monkeypatch.setattr(parquet_format, "_ROWS_PER_BATCH", 3)
    file = written(tmp_path, TABLE)
    schema, rows = read_schema(file.name, file.path, "data.x.path")
    assert schema.names == ["a", "b.c"] and rows == [4, 4, 2]
    actual = []
    for part in parts_of_file(0, rows):
        for block in parse_row_groups(part, file, ["b.c", "a"]):
            assert block.table.column_names == ["b.c", "a"]
            assert block.records == len(block.lines) <= 3
            columns = (
                block.lines.tolist(),
                *(column.to_pylist() for column in block.table.columns),
            )
            actual += list(zip(*columns, strict=True))
    assert actual == [(number + 1, f"x{number}", number) for number in range(10)]


def test_files_that_are_not_parquet_are_named(tmp_path):
    path = tmp_path / "t.parquet"
    for content in (b"", b"user_id,item_id\n1,2\n", b"PAR1" + b"x" * 50):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="data.x.path: t: not a Parquet file"):
            read_schema("t", str(path), "data.x.path")


def test_a_file_that_breaks_in_the_middle_is_named(tmp_path):
    file = written(tmp_path, pa.table({"a": [f"{number:050}" for number in range(1000)]}), 1000)
    with open(file.path, "r+b") as opened:
        opened.seek(4)
        opened.write(b"\xff" * 2000)
    with pytest.raises(CommandError, match="t.parquet: the Parquet file cannot be read"):
        list(parse_row_groups(FilePart(0, 1, (0,)), file, ["a"]))


def test_a_text_that_is_not_utf8_is_named(tmp_path):
    offsets, content = pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"ab\xff\xfe")
    texts = pa.StringArray.from_buffers(2, offsets, content)
    file = written(tmp_path, pa.table({"a": texts}), 2)
    with pytest.raises(CommandError, match=r"t.parquet: .* cannot be read .*Invalid UTF8 sequence"):
        list(parse_row_groups(FilePart(0, 1, (0,)), file, ["a"]))


def test_structures_are_no_values():
    schema = pa.schema({"a": pa.list_(pa.string()), "b": pa.struct({"x": pa.int8()})})
    require_readable(schema, {"data.x.a": "a"}, "t.parquet")
    with pytest.raises(ConfigurationError, match="data.x.b: column 'b' of t.parquet has the type"):
        require_readable(schema, {"data.x.a": "a", "data.x.b": "b"}, "t.parquet")
