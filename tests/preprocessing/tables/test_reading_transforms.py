from __future__ import annotations

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from configs.data import Table
from preprocessing.tables.reading_transforms import ReadTable
from tests.preprocessing.tables.tables_on_disk import opened


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
