from __future__ import annotations

import numpy as np
import pytest

from preprocessing.inspection.views import view_records
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.tfrecord_file import write_records
from preprocessing.records.wire import Int64Column, encode_examples


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
