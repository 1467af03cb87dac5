from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing.records.contract import DamagedRecords
from preprocessing.records.item_tables import (
    order_by_count,
    read_item_attributes,
    read_vocabulary,
    write_vocabulary,
)


def table() -> pa.Table:
    sums = [[float(fold) for fold in range(10)], [0.0] * 10]
    counts = [[1] * 10, [0] * 10]
    return pa.table(
        {
            "item_id": ["a", "b"],
            "title": ["A", ""],
            "genres": pa.array([["x", "y"], []], pa.list_(pa.string())),
            "year": pa.array([1999.0, None], pa.float64()),
            "rating_sum": [45.0, 0.0],
            "rating_count": [10, 0],
            "rating_sum_by_fold": pa.array(sums, pa.list_(pa.float64(), 10)),
            "rating_count_by_fold": pa.array(counts, pa.list_(pa.int64(), 10)),
        }
    )


def test_columns_get_their_types(tmp_path):
    pq.write_table(table(), tmp_path / "items.parquet")
    items = read_item_attributes(tmp_path / "items.parquet")
    assert items.item_ids == ["a", "b"] and items.titles == ["A", ""]
    assert items.categorical == {"genres": [["x", "y"], []]}
    np.testing.assert_array_equal(items.numeric["year"], [1999.0, np.nan])
    assert items.rating_sum.tolist() == [45.0, 0.0]
    assert items.rating_count.tolist() == [10, 0]
    assert items.rating_sum_by_fold.shape == (2, 10)
    assert items.rating_sum_by_fold[0, 9] == 9.0
    assert items.rating_count_by_fold.dtype == np.int64


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "items.parquet"
    with pytest.raises(DamagedRecords, match="run 'python -m preprocessing examples' first"):
        read_item_attributes(path)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DamagedRecords, match="cannot be read"):
        read_item_attributes(path)
    pq.write_table(table().drop_columns(["rating_sum"]), path)
    with pytest.raises(DamagedRecords, match="expected a column 'rating_sum' of type double"):
        read_item_attributes(path)
    pq.write_table(table().append_column("flag", pa.array([True, False])), path)
    with pytest.raises(DamagedRecords, match="'flag' has the unexpected type bool"):
        read_item_attributes(path)


def test_frequent_values_come_first_and_equal_ones_in_text_order():
    assert order_by_count({"b": 2, "a": 2, "10": 1, "9": 1, "z": 5}) == ["z", "a", "b", "10", "9"]


def test_values_survive_the_file(tmp_path):
    values = ["Größe", " spaces ", "(no genres listed)", "\u2028"]
    path = tmp_path / "vocabularies" / "genres.txt"
    write_vocabulary(path, values)
    assert read_vocabulary(path) == values
    write_vocabulary(path, [])
    assert read_vocabulary(path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a\nb", "cut off"), (b"a\na\n", "twice"), (b"\xff\n", "cannot be read")],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    path = tmp_path / "item_id.txt"
    path.write_bytes(content)
    with pytest.raises(DamagedRecords, match=f"item_id.txt.*{message}"):
        read_vocabulary(path)


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(DamagedRecords, match="run 'python -m preprocessing examples' first"):
        read_vocabulary(tmp_path / "absent.txt")
