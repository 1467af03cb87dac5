from __future__ import annotations

import bz2
import gzip
import json
import lzma
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.internal import pickler
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing.tables.blocks import LineBlock
from preprocessing.tables.reading_transforms import ReadTable
from tests.preprocessing import shared_file_system
from tests.preprocessing.tables.tables_on_disk import letters_of, opened, rows_of

COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
            ".zst": zstandard.compress}  # fmt: skip


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files_are_read_as_they_are(tmp_path, suffix):
    compress = COMPRESS[suffix]
    (tmp_path / f"a.csv{suffix}").write_bytes(compress(b"id,x\n1,a\n2,b\n"))
    (tmp_path / f"a.jsonl{suffix}").write_bytes(compress(b'{"id": 1, "x": "a"}\n{"id": 2}\n'))
    reader = opened(Table(path=str(tmp_path / f"a.csv{suffix}")), "x", "id")
    assert rows_of(reader) == [(0, 2, ("a", "1")), (0, 3, ("b", "2"))]
    reader = opened(Table(path=str(tmp_path / f"a.jsonl{suffix}")), "x", "id")
    assert rows_of(reader) == [(0, 1, ("a", "1")), (0, 2, ("", "2"))]


def test_files_of_several_formats_are_one_table(tmp_path):
    (tmp_path / "2.csv").write_text("x,id\nb,2\n")
    (tmp_path / "1.csv").write_text("x,id\na,1\n")
    pq.write_table(pa.table({"id": [3], "x": ["c"], "y": [0]}), tmp_path / "3.parquet")
    (tmp_path / "4.jsonl").write_text('{"x": "d", "id": 4}\n')
    patterns = [str(tmp_path / "[34].*"), str(tmp_path / "*.csv")]
    reader = opened(Table(path=patterns), "id", "x")
    assert [name.rsplit("/", 1)[1] for name in reader.names] == [
        "3.parquet", "4.jsonl", "1.csv", "2.csv",
    ]  # fmt: skip
    assert rows_of(reader) == [
        (0, 1, ("3", "c")), (1, 1, ("4", "d")), (2, 2, ("1", "a")), (3, 2, ("2", "b")),
    ]  # fmt: skip
    assert reader.stored_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def carried(value: Any) -> Any:
    """The value as Beam brings it to a worker."""
    return pickler.loads(pickler.dumps(value))


def test_parts_and_blocks_travel_to_other_processes(tmp_path):
    (tmp_path / "a.csv").write_text("id\n1\n2\n")
    pq.write_table(pa.table({"id": [3, 4]}), tmp_path / "b.parquet", row_group_size=1)
    reader = opened(Table(path=str(tmp_path / "*")), "id")
    there = carried(reader)
    actual = []
    for part in carried(reader.parts):
        for block in there.read_part(part):
            for parsed in there.parse(carried(block)):
                actual += parsed.table["id"].to_pylist()
    assert actual == ["1", "2", 3, 4]


def test_dead_letters_name_their_file(tmp_path):
    (tmp_path / "a.csv").write_text("id,x\n1,a,b\n2,c\n")
    (tmp_path / "b.csv").write_text("id,x\n1\n")
    reader = opened(Table(path=str(tmp_path / "*.csv")), "id")
    assert rows_of(reader) == [(0, 3, ("2",))]
    assert letters_of(reader) == [
        ("a.csv", 2, "wrong_column_count"),
        ("b.csv", 2, "wrong_column_count"),
    ]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_many_blocks_are_one_file(tmp_path, form, monkeypatch):
    path = tmp_path / f"a.{form}"
    numbers = range(5000)
    lines = [json.dumps({"id": n, "x": "é"}) if form == "jsonl" else f"{n},é" for n in numbers]
    path.write_text("\n".join([*(["id,x"] if form == "csv" else []), *lines]), encoding="latin-1")
    monkeypatch.setattr("preprocessing.tables.blocks.BLOCK_BYTES", 1000)
    monkeypatch.setattr("preprocessing.tables.blocks.read_line_blocks.__defaults__", (1000,))
    reader = opened(Table(path=str(path), encoding="latin-1"), "id")
    (part,) = reader.parts
    blocks = list(reader.read_part(part))
    assert len(blocks) > 20 and all(isinstance(block, LineBlock) for block in blocks)
    first = 2 if form == "csv" else 1
    assert rows_of(reader) == [(0, n + first, (str(n),)) for n in numbers]


def test_headers_without_records_are_empty_tables(tmp_path):
    (tmp_path / "a.csv").write_text("id,x\n")
    pq.write_table(pa.table({"id": pa.array([], pa.int64())}), tmp_path / "b.parquet")
    reader = opened(Table(path=str(tmp_path / "*")), "id")
    assert rows_of(reader) == []


def test_headers_must_be_the_same(tmp_path):
    (tmp_path / "a.csv").write_text("id,x\n1,2\n")
    (tmp_path / "b.csv").write_text("x,id\n1,2\n")
    with pytest.raises(
        ConfigurationError,
        match=r"data.x.path: the header of .*b.csv differs from that of .*a.csv: x, id instead of",
    ):
        opened(Table(path=str(tmp_path / "*.csv")), "id")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "x,y\n", "data.x.id: .*a.csv has no column 'id'. Its columns: x, y"),
        ("a.csv", "", "data.x.path: .*a.csv: line 1 is empty"),
        ("a.jsonl", "", "data.x.path: .*a.jsonl is empty"),
        ("a.jsonl", '{"x": 1}\n', "data.x.id: no record of .*a.jsonl has a field 'id'"),
        ("a.parquet", "id\n", "data.x.path: .*a.parquet: not a Parquet file"),
    ],
)
def test_files_that_cannot_be_used_are_explained(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        opened(Table(path=str(tmp_path / name)), "id")


def test_parquet_columns_must_exist_and_be_values(tmp_path):
    pq.write_table(pa.table({"x": [1], "id": [{"a": 1}]}), tmp_path / "a.parquet")
    table = Table(path=str(tmp_path / "a.parquet"))
    with pytest.raises(ConfigurationError, match="data.x.y: .* has no column 'y'"):
        opened(table, "y")
    with pytest.raises(ConfigurationError, match="data.x.id: column 'id' of .* struct"):
        opened(table, "id")


def test_encodings_are_checked(tmp_path):
    (tmp_path / "a.csv").write_text("id\n")
    with pytest.raises(ConfigurationError, match="data.x.encoding: 'utf9' is not a text encoding"):
        opened(Table(path=str(tmp_path / "a.csv"), encoding="utf9"), "id")


def test_tables_in_an_object_store(tmp_path, monkeypatch):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    folder = tmp_path / "bucket"
    folder.mkdir()
    (folder / "a.csv.gz").write_bytes(gzip.compress(b"id,x\n1,a\n"))
    pq.write_table(pa.table({"id": [2], "x": ["b"]}), folder / "b.parquet")
    (folder / "c.jsonl").write_text('{"id": 3, "x": "c"}\n')
    reader = opened(Table(path="shared://bucket/*"), "id", "x")
    assert reader.names == [
        "shared://bucket/a.csv.gz", "shared://bucket/b.parquet", "shared://bucket/c.jsonl",
    ]  # fmt: skip
    assert [values for _, _, values in rows_of(reader)] == [("1", "a"), ("2", "b"), ("3", "c")]
    assert reader.stored_bytes == sum(path.stat().st_size for path in folder.iterdir())
    with pytest.raises(ConfigurationError, match="no file matches 'shared://bucket/.*.tsv'$"):
        opened(Table(path="shared://bucket/*.tsv"), "id")


def test_blocks_of_all_files_reach_the_workers(tmp_path):
    (tmp_path / "a.csv").write_text("id\n1\n2\n")
    (tmp_path / "b.csv").write_text("id\n3\n")
    pq.write_table(pa.table({"id": [4, 5, 6]}), tmp_path / "c.parquet", row_group_size=1)
    reader = opened(Table(path=str(tmp_path / "*")), "id")
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        lines = (
            pipeline
            | ReadTable(reader)
            | beam.FlatMap(reader.parse)
            | beam.FlatMap(lambda block: [(block.file.index, int(line)) for line in block.lines])
        )
        assert_that(lines, equal_to([(0, 2), (0, 3), (1, 2), (2, 1), (2, 2), (2, 3)]))


def test_no_table_has_no_blocks():
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | ReadTable(None), equal_to([]))


@pytest.mark.parametrize("quoting", [True, False])
def test_a_record_of_several_lines_is_one_across_blocks(tmp_path, monkeypatch, quoting):
    path = tmp_path / "a.csv"
    record = '{n},"first ""a""\n\nthird, ""b"" text","and\nfourth, more",5\n{n},12" disc,x,4\n'
    path.write_text("user,note,more,stars\n" + "".join(record.format(n=n) for n in range(60)))
    results = []
    for size in (4 << 20, *range(100, 140, 3)):
        monkeypatch.setattr("preprocessing.tables.blocks.read_line_blocks.__defaults__", (size,))
        reader = opened(Table(path=str(path), quoting=quoting), "user")
        results.append((rows_of(reader), letters_of(reader)))
    assert all(result == results[0] for result in results)
    rows, letters = results[0]
    if quoting:
        assert rows == [(0, 5 * n + 6, (str(n),)) for n in range(60)]
        assert letters == [("a.csv", 5 * n + 2, "line_break_in_field") for n in range(60)]
