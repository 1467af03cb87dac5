from __future__ import annotations

import pyarrow as pa

from preprocessing.arrow_bytes import concatenate, table_from_bytes, table_to_bytes


def test_tables_survive_and_add_up():
    table = pa.table({"id": ["a", "ß"], "number": pa.array([1, None], pa.int64())})
    assert table_from_bytes(table_to_bytes(table)).equals(table)
    parts = [table_to_bytes(table), table_to_bytes(table.slice(0, 0)), table_to_bytes(table)]
    assert concatenate(parts, table.schema).to_pylist() == table.to_pylist() * 2
    assert concatenate([], table.schema).equals(table.slice(0, 0))
