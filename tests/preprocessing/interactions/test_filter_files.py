from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from preprocessing import storage
from preprocessing.interactions.k_core import (
    CodedShard,
    FilterFiles,
    KeptCounts,
    read_coded,
    read_counts,
    read_kept_items,
    read_table,
    write_coded,
    write_counts,
    write_kept_items,
    write_table,
)
from tests.preprocessing import shared_file_system


@pytest.mark.parametrize("local", [True, False])
def test_what_is_written_is_read_back(tmp_path, monkeypatch, local):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    files = FilterFiles(str(tmp_path / "folder") if local else "shared://folder")
    mask = np.array([True, False, True] * 7)
    write_kept_items(files, mask)
    assert read_kept_items(files).tolist() == mask.tolist()
    write_coded(files, 3, CodedShard(np.array([5, 2], np.int32), np.array([2, 0])))
    coded = read_coded(files, 3)
    assert coded.items.dtype == np.int32 and coded.items.tolist() == [5, 2]
    assert coded.counts.tolist() == [2, 0]
    write_counts(files, KeptCounts(np.array([4, 0]), users=2))
    assert (read_counts(files).item_counts.tolist(), read_counts(files).users) == ([4, 0], 2)
    write_table(files.items, pa.table({"item": ["a", "b"]}))
    assert read_table(files.items)["item"].to_pylist() == ["a", "b"]
    assert len(storage.files_below(files.folder)) == 4


def test_no_items(tmp_path):
    files = FilterFiles(str(tmp_path))
    write_kept_items(files, np.zeros(0, bool))
    assert read_kept_items(files).tolist() == []
