from __future__ import annotations

import pyarrow as pa

from preprocessing.tables.blocks import ParsedBlock, TableFile


def test_rows_know_their_file_and_line():
    file = TableFile(3, "b.csv", "/data/b.csv", "csv", ("x",), 10)
    lines = pa.array([2, 5], pa.int64()).to_numpy()
    block = ParsedBlock(file, pa.table({"x": ["a", "b"]}), lines, [], 2)
    files, numbers = block.places()
    assert files.equals(pa.array([3, 3], pa.int32()))
    assert numbers.equals(pa.array([2, 5], pa.int64()))
