from __future__ import annotations

import csv
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command_line import CommandError
from preprocessing.inspection.views import (
    FeatureStatistics,
    cut,
    plain_value,
    shown_values,
    view_arrays,
    view_arrow,
    view_csv,
    view_dead_letters,
    view_parquet,
    view_prompts,
    view_records,
    view_vocabulary,
)
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.tfrecord_file import write_records
from preprocessing.records.wire import Int64Column, encode_examples


def test_values_are_shown_as_what_they_are():
    assert shown_values([b"a"]) == "a"
    assert shown_values([b"a", "é".encode(), b"\xff"]) == ["a", "é", "\\xff"]
    assert shown_values(np.array([0.1], np.float32)) == 0.1
    assert shown_values(np.array([3], np.int64)) == 3
    assert shown_values([]) == []


def test_long_lists_are_abbreviated():
    assert shown_values(np.arange(8)) == list(range(8))
    assert shown_values(np.arange(9)) == {"count": 9, "first": [0, 1, 2], "last": [6, 7, 8]}


def test_numbers_that_json_lacks_and_long_texts():
    assert plain_value(np.float32("nan")) == "nan" and plain_value(np.float32("inf")) == "inf"
    assert cut("x" * 10, 10) == "x" * 10
    assert cut("x" * 11, 10) == "x" * 10 + "... (11 characters)"


@pytest.fixture
def paths(tmp_path):
    written = []
    for start in (0, 10):
        path = tmp_path / f"{start}.tfrecord.gz"
        write_records(path, encode_examples({"id": Int64Column(np.arange(start, start + 10))}))
        written.append(path)
    return written


def test_files_are_read_one_after_the_other(paths):
    view = view_records(paths, records=12, limit=100)
    assert [record["id"] for record in view["records"]] == list(range(12))
    assert view["records_read"] == 20 and view["all_records_read"]
    assert view["features"]["id"]["maximum"] == 19


def test_the_limit_is_told(paths):
    view = view_records(paths, records=1, limit=20)
    assert view["all_records_read"]
    view = view_records(paths, records=1, limit=19)
    assert view["records_read"] == 19 and not view["all_records_read"]


def test_a_record_of_another_kind_is_named(paths):
    write_records(paths[1], [b"\xff"])
    with pytest.raises(DamagedRecords, match=r"10.tfrecord.gz: record 1: not a serialized"):
        view_records(paths, records=1, limit=100)


def test_dead_letters_by_file_and_reason(tmp_path):
    path = tmp_path / "d.jsonl"
    letters = [{"file": f, "line": n, "reason": r} for n, (f, r) in enumerate(["ax", "bx", "ax"])]
    path.write_text("".join(json.dumps(letter) + "\n" for letter in letters))
    view = view_dead_letters(path, records=1, limit=10)
    assert view == {
        "lines_read": 3,
        "by_reason": {"a": {"x": 2}, "b": {"x": 1}},
        "records": letters[:1],
    }
    assert view_dead_letters(path, records=1, limit=2)["lines_read"] == 2


def test_prompts_by_source(tmp_path):
    path = tmp_path / "p.jsonl"
    lines = [{"source": "item", "extraction": "individual", "prompt": "x" * n} for n in (1, 3, 9)]
    path.write_text("\n".join(map(json.dumps, lines)))
    view = view_prompts(path, records=0, limit=10)
    assert view["sources"] == {"item, individual": 3} and view["records"] == []
    assert view["prompt_characters"] == {"minimum": 1, "median": 3.0, "maximum": 9}


@pytest.mark.parametrize(("line", "message"), [("no", "not JSON"), ("[1]", "but not an object")])
def test_a_line_of_another_kind_is_named(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "x"}\n' + line)
    with pytest.raises(CommandError, match=rf"line 2: .*{message}"):
        view_prompts(path, records=1, limit=10)


def test_vocabularies(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("a\nb\nc\n")
    assert view_vocabulary(path, 2) == {"values": 3, "first": ["a", "b"], "last": ["b", "c"]}


def test_statistics_of_texts_and_numbers():
    statistics = FeatureStatistics()
    statistics.add({"id": [b"a"], "score": np.array([1, np.nan, 0], np.float32)})
    statistics.add({"id": [b"b"], "score": np.array([4.5], np.float32)})
    statistics.add({"id": [b"a"], "time": np.array([1_260_759_205], np.int64)})
    summary = statistics.summary()
    assert summary["id"] == {
        "type": "bytes",
        "records": 3,
        "values_per_record": {"minimum": 1, "mean": 1.0, "maximum": 1},
        "distinct": 2,
        "most_common": [["a", 2], ["b", 1]],
    }
    assert summary["score"] == {
        "type": "float32",
        "records": 2,
        "values_per_record": {"minimum": 1, "mean": 2.0, "maximum": 3},
        "minimum": 0.0,
        "mean": 1.83333,
        "maximum": 4.5,
        "share_of_zeros": 0.3333,
        "not_finite": 1,
    }
    assert summary["time"]["minimum"] == summary["time"]["maximum"] == 1_260_759_205


def test_a_feature_without_values():
    statistics = FeatureStatistics()
    statistics.add({"score": np.zeros(0, np.float32)})
    assert statistics.summary()["score"]["values_per_record"]["maximum"] == 0


def test_distinct_texts_are_counted_up_to_a_bound():
    statistics = FeatureStatistics()
    for start in range(0, 150_000, 50_000):
        statistics.add({"id": [str(number).encode() for number in range(start, start + 50_000)]})
    assert statistics.summary()["id"]["distinct"] == "more than 100000"


def test_parquet_columns(tmp_path):
    path = tmp_path / "a.parquet"
    columns = {
        "id": pa.array(["a", "b", "b"]),
        "year": pa.array([1999.0, None, math.nan]),
        "count": pa.array([1, 2, 6], pa.int64()),
        "genres": pa.array([["x"], [], ["x", "y"]], pa.list_(pa.string())),
    }
    pq.write_table(pa.table(columns), path)
    view = view_parquet(path, records=2, limit=10)
    assert view["rows"] == view["rows_read"] == 3
    assert view["records"][1] == {"id": "b", "year": None, "count": 2, "genres": []}
    assert view["columns"]["id"] == {"missing": 0, "distinct": 2}
    assert view["columns"]["year"] == {
        "missing": 1,
        "minimum": 1999.0,
        "mean": 1999.0,
        "maximum": 1999.0,
    }
    assert view["columns"]["count"]["mean"] == 3.0
    assert view["columns"]["genres"] == {
        "missing": 0,
        "values_per_row": 1.0,
        "rows_without_values": 1,
    }
    assert view_parquet(path, records=9, limit=2)["rows_read"] == 2


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_columns_of_codes_and_vectors(tmp_path, form):
    path = tmp_path / f"a.{form}"
    table = pa.table(
        {
            "how": pa.array(["near", "exact", "near"]).dictionary_encode(),
            "vector": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2)),
        }
    )
    if form == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    view = {"parquet": view_parquet, "arrow": view_arrow}[form](path, records=1, limit=3)
    assert (view["rows"], view["rows_read"]) == (3, 3)
    assert view["records"] == [{"how": "near", "vector": [1.0, 2.0]}]
    assert view["columns"]["how"] == {"missing": 0, "distinct": 2}
    assert view["columns"]["vector"]["values_per_row"] == 2.0


def test_columns_whose_values_cannot_be_counted_are_shown(tmp_path):
    path = tmp_path / "a.parquet"
    columns = {
        "nothing": pa.array([None, None]),
        "large": pa.array([[1], [1, 2]], pa.large_list(pa.int64())),
        "struct": pa.array([{"a": 1}, {"a": 2}]),
        "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    }
    pq.write_table(pa.table(columns), path)
    view = view_parquet(path, records=2, limit=10)
    assert view["columns"]["large"] == {
        "missing": 0,
        "values_per_row": 1.5,
        "rows_without_values": 0,
    }
    assert view["columns"]["nothing"]["missing"] == 2
    assert view["columns"]["struct"] == view["columns"]["map"] == {"missing": 0}
    assert view["records"][0]["struct"] == {"a": 1}


def test_long_texts_of_csv_files_have_a_bound(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text(f"id,text\n1,{'x' * 140_000}\n", encoding="utf-8-sig")
    view = view_csv(path, records=1, limit=2)
    assert view["columns"] == ["id", "text"] and view["records"][0]["text"].startswith("xxx")
    before = csv.field_size_limit()
    monkeypatch.setattr("preprocessing.inspection.views.LONGEST_LINE", 100_000)
    with pytest.raises(DamagedRecords, match="a.csv: not a whole CSV file"):
        view_csv(path, records=1, limit=2)
    csv.field_size_limit(before)


def test_csv_rows_up_to_the_limit(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,title\n1,"Fly, The"\n2,\n3,x\n')
    view = view_csv(path, records=1, limit=2)
    assert view["rows_read"] == 2 and view["records"] == [{"id": "1", "title": "Fly, The"}]
    assert view_csv(path, records=5, limit=10)["rows_read"] == 3


def test_arrays(tmp_path):
    path = tmp_path / "statistics.npz"
    np.savez(path, mean=np.array([[1.0, np.nan, 2.0]], np.float32), names=np.array(["a", "b"]))
    assert view_arrays(path)["arrays"] == {
        "mean": {
            "shape": [1, 3],
            "type": "float32",
            "minimum": 1.0,
            "mean": 1.5,
            "maximum": 2.0,
        },
        "names": {"shape": [2], "type": "<U1"},
    }
    np.savez(path, objects=np.array([{}], dtype=object))
    with pytest.raises(DamagedRecords, match="not a whole .npz file"):
        view_arrays(path)
