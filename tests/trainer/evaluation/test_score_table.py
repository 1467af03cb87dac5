from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command_line import CommandError
from trainer.evaluation import score_table
from trainer.evaluation.score_table import ScoreTable, write_scores

ROWS = 500


def synthetic_table() -> pa.Table:
    random = np.random.default_rng(1)
    return pa.table(
        {
            "user_id": [f"u{user}" for user in random.integers(0, 12, ROWS)],
            "score": pa.array(np.round(random.random(ROWS), 2), pa.float32()),
            "city": [[["Oslo"], [], ["Lima", "Bonn"]][n] for n in random.integers(0, 3, ROWS)],
            "age": pa.array([30.5 if n % 3 else None for n in range(ROWS)], pa.float32()),
            'odd "name"': np.arange(ROWS),
        }
    )


@pytest.fixture(params=["file", "memory"])
def table(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ScoreTable]:
    monkeypatch.setattr(score_table, "_BATCH", 64)
    source: Path | pa.Table = synthetic_table()
    if request.param == "file":
        source = tmp_path / "it's [a] *what?.parquet"
        pq.write_table(synthetic_table(), source, row_group_size=100)
    with ScoreTable(source, folder=tmp_path) as opened:
        yield opened
    assert not list(tmp_path.glob("sorting_*"))


def test_all_rows_come_once_with_their_numbers(table: ScoreTable) -> None:
    expected = synthetic_table().to_pandas()
    batches = list(table.batches(["row", "user_id", "score", 'odd "name"', "age"]))
    assert table.num_rows == ROWS and len(batches) > 3
    rows = np.concatenate([batch["row"] for batch in batches])
    assert sorted(rows) == list(range(ROWS))
    for name in ("user_id", "score", 'odd "name"', "age"):
        actual = np.concatenate([batch[name] for batch in batches])
        np.testing.assert_array_equal(actual, expected[name][rows])
    assert np.isnan(batches[0]["age"]).any()


def test_rows_come_sorted_under_new_names(table: ScoreTable) -> None:
    batches = list(table.batches({"value": "score", "score": "row"}, order_by=["value", "score"]))
    values = np.concatenate([batch["value"] for batch in batches])
    rows = np.concatenate([batch["score"] for batch in batches])
    scores = synthetic_table()["score"].to_numpy()
    np.testing.assert_array_equal(rows, np.lexsort((np.arange(ROWS), scores)))
    np.testing.assert_array_equal(values, scores[rows])


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
def test_rows_of_one_user_are_in_one_batch(
    table: ScoreTable, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_table, "_BATCH", batch)
    users = synthetic_table()["user_id"].to_numpy(zero_copy_only=False)
    seen: set[str] = set()
    rows = []
    for each in table.batches(["user_id", "row"], whole="user_id"):
        numbers = each["user_id"]
        assert numbers[0] == 0 and set(np.diff(numbers)) <= {0, 1}
        owners = [set(users[each["row"][numbers == n]]) for n in range(numbers[-1] + 1)]
        assert all(len(owner) == 1 for owner in owners)
        batch_owners = set.union(*owners)
        assert len(batch_owners) == len(owners) and not batch_owners & seen
        seen |= batch_owners
        rows += each["row"].tolist()
    assert sorted(rows) == list(range(ROWS))


def test_keys_are_places_among_values(table: ScoreTable) -> None:
    table.add_key("user", "user_id", pa.array(["u3", "u1"]))
    expected = {"u3": 0, "u1": 1}
    users = synthetic_table()["user_id"].to_pylist()
    keys = np.concatenate([batch["user"] for batch in table.batches(["user"], order_by=["row"])])
    assert keys.tolist() == [expected.get(user, 2) for user in users]


def test_distinct_values_of_lists_are_counted_and_keys(table: ScoreTable) -> None:
    values, rows = table.counts("city")
    lists = synthetic_table()["city"].to_pylist()
    assert sorted(values.to_pylist()) == [[], ["Lima", "Bonn"], ["Oslo"]]
    assert [lists.count(value) for value in values.to_pylist()] == rows.tolist()
    table.add_key("city_key", "city", values)
    for batch in table.batches(["city_key", "row"]):
        actual = [values.to_pylist()[place] for place in batch["city_key"]]
        assert actual == [lists[row] for row in batch["row"]]


def test_numbers_that_are_not_known_are_counted_apart(table: ScoreTable) -> None:
    values, rows = table.counts("age")
    assert values.to_pylist() == [30.5, None] and rows.tolist() == [333, 167]


def bytes_there(files: Iterable[Path]) -> int:
    """Bytes of files that a thread of DuckDB may delete meanwhile."""
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def sorted_apart(folder: Path, rows: int, megabytes: int) -> tuple[int, int]:
    """Sorts distinct random numbers; how many rows came, and the most bytes on disk."""
    numbers = np.random.default_rng(2).random(rows)
    columns = {"score": numbers, "payload": numbers[::-1], "more": numbers + 1}
    pq.write_table(pa.table(columns), folder / "scores.parquet")
    last, count, on_disk = -1.0, 0, 0
    with ScoreTable(folder / "scores.parquet", megabytes, folder=folder) as table:
        for batch in table.batches(["score", "payload", "more"], order_by=["score"]):
            assert batch["score"][0] >= last and (np.diff(batch["score"]) >= 0).all()
            last, count = batch["score"][-1], count + len(batch["score"])
            on_disk = max(on_disk, bytes_there(folder.glob("sorting_*/**/*")))
    return count, on_disk


def test_a_sort_that_memory_does_not_hold_goes_to_disk(tmp_path: Path) -> None:
    count, on_disk = sorted_apart(tmp_path, rows=3_000_000, megabytes=128)
    assert count == 3_000_000 and on_disk > 1e6


def test_too_little_memory_is_explained(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="evaluation.memory_megabytes, or name a folder"):
        sorted_apart(tmp_path, rows=1_000_000, megabytes=16)


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
            path = tmp_path / ".scores.parquet.partial"
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
