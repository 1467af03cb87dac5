from __future__ import annotations

import pytest

from configs.data import Table
from configs.loading import ConfigurationError
from preprocessing.tables.blocks import expand_paths, format_of, separator_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.csv", "a.csv", "c.txt", "year=2020/x.csv", "odd[1].csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "files"),
    [
        (["c.txt"], ["c.txt"]),
        (["[ab].csv"], ["a.csv", "b.csv"]),
        (["c.txt", "a.csv"], ["c.txt", "a.csv"]),
        (["b.csv", "[ab].csv"], ["b.csv", "a.csv"]),
        (["**/x.csv"], ["year=2020/x.csv"]),
        (["odd[1].csv"], ["odd[1].csv"]),
    ],
)
def test_patterns_are_sorted_lists_stay_in_order_and_files_come_once(folder, paths, files):
    assert expand_paths(paths, "key") == files


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.csv", "data.x.path: there is no file 'absent.csv' .relative paths start at"),
        ("*.parquet", r"data.x.path: no file matches '\*.parquet'"),
        ("year=2020", "data.x.path: 'year=2020' is a folder"),
    ],
)
def test_nothing_there_is_an_error(folder, path, message):
    with pytest.raises(ConfigurationError, match=message):
        expand_paths(["a.csv", path], "data.x.path")


def test_a_public_data_set_that_is_not_there_can_be_fetched(folder):
    with pytest.raises(ConfigurationError) as raised:
        expand_paths(["data/goodbooks_10k/ratings.csv"], "data.interactions.path")
    assert "there is no file 'data/goodbooks_10k/ratings.csv' (relative" in str(raised.value)
    assert "python -m preprocessing download goodbooks_10k" in str(raised.value)


@pytest.mark.parametrize(
    ("path", "configured", "expected"),
    [
        ("a.csv", "auto", "csv"),
        ("a.dat.gz", "auto", "csv"),
        ("u.item", "auto", "csv"),
        ("a.parquet", "auto", "parquet"),
        ("A.PARQUET", "auto", "parquet"),
        ("a.json.gz", "auto", "jsonl"),
        ("a.ndjson.zst", "auto", "jsonl"),
        ("a.jsonl", "auto", "jsonl"),
        ("gs://bucket/part-0001.jsonl.bz2", "auto", "jsonl"),
        ("part-0001", "parquet", "parquet"),
        ("a.json", "csv", "csv"),
    ],
)
def test_formats_by_name(path, configured, expected):
    assert format_of(Table(path=path, format=configured), path, "key") == expected


def test_packed_parquet_files_are_refused():
    with pytest.raises(ConfigurationError, match="key: a.parquet.gz: .*unpack it"):
        format_of(Table(path="x"), "a.parquet.gz", "key")


@pytest.mark.parametrize(
    ("path", "configured", "expected"),
    [("a.csv", None, ","), ("a.tsv", None, "\t"), ("A.TSV.xz", None, "\t"), ("a.tsv", ";", ";")],
)
def test_separators(path, configured, expected):
    assert separator_of(Table(path=path, separator=configured), path) == expected
