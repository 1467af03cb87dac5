from __future__ import annotations

import itertools

import pyarrow as pa
import pytest

from trainer.evaluation.score_table import numbers_of_groups, with_whole_groups

VALUES = ["a", "a", "b", "c", "c", "c", "c", "d"]


@pytest.mark.parametrize("cuts", [*itertools.combinations(range(9), 2), (), tuple(range(9))])
def test_a_value_is_never_in_two_batches_however_they_come(cuts: tuple[int, ...]) -> None:
    whole = pa.record_batch({"user": VALUES, "row": list(range(8))})
    ends = [*cuts, 8]
    parts = [whole.slice(start, end - start) for start, end in zip([0, *cuts], ends, strict=True)]
    actual = [batch.to_pydict() for batch in with_whole_groups(iter(parts), "user")]
    assert [row for batch in actual for row in batch["row"]] == list(range(8))
    assert all(batch["user"] for batch in actual)
    for before, after in itertools.pairwise(actual):
        assert before["user"][-1] != after["user"][0]


def test_without_rows_there_is_no_batch() -> None:
    empty = pa.record_batch({"user": pa.array([], pa.string())})
    assert list(with_whole_groups(iter([empty, empty]), "user")) == []


def test_values_are_numbered_in_order() -> None:
    assert numbers_of_groups(pa.array(VALUES)).tolist() == [0, 0, 1, 2, 2, 2, 2, 3]
    assert numbers_of_groups(pa.array(["x"])).tolist() == [0]
