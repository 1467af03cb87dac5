from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing.inspection.views import view_arrays, view_csv, view_parquet
from preprocessing.records.contract import DamagedRecords


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
