from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.evaluation import score_table
from trainer.evaluation.score_table import write_scores


def tables(*sizes: int) -> Iterator[pa.Table]:
    first = 0
    for size in sizes:
        rows = pa.array(range(first, first + size), pa.int64())
        yield pa.table({"row": rows, "user_id": pa.array(["u"] * size, pa.string())})
        first += size


@pytest.mark.parametrize("sizes", [(1,), (3, 4), (5, 5, 5), (2, 11, 1, 1), (0, 3)])
def test_tables_stand_below_each_other(
    sizes: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_table, "_ROW_GROUP", 5)
    path = tmp_path / "new" / "scores.parquet"
    assert write_scores(path, tables(*sizes)) == sum(sizes)
    assert pq.read_table(path)["row"].to_pylist() == list(range(sum(sizes)))
    assert [file.name for file in path.parent.iterdir()] == ["scores.parquet"]


def test_no_more_than_a_row_group_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_table, "_ROW_GROUP", 6)
    written = []

    def watched() -> Iterator[pa.Table]:
        for table in tables(*[2] * 20):
            path = tmp_path / ".scores.parquet.unfinished"
            written.append(path.stat().st_size if path.exists() else 0)
            yield table

    write_scores(tmp_path / "scores.parquet", watched())
    groups = pq.ParquetFile(tmp_path / "scores.parquet").metadata
    sizes = [groups.row_group(n).num_rows for n in range(groups.num_row_groups)]
    assert max(sizes) <= 6 and sum(sizes) == 40
    assert written[0] == 0 < written[8] < written[14]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write_scores(path, tables(3))

    def failing() -> Iterator[pa.Table]:
        yield from tables(200_000)
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        write_scores(path, failing())
    assert pq.read_table(path).num_rows == 3
    assert [file.name for file in tmp_path.iterdir()] == ["scores.parquet"]


def test_nothing_to_write_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no table"):
        write_scores(tmp_path / "scores.parquet", iter([]))
    assert list(tmp_path.iterdir()) == []
