from __future__ import annotations

import numpy as np
import pytest

from configs.command_line import CommandError
from preprocessing.knowledge.entity_vectors import (
    combine,
    norm_report,
    shard_statistics,
    write_vector_statistics,
)
from preprocessing.knowledge.vectors import KnowledgeRecord


def records(vectors: np.ndarray, extraction: str = "individual") -> list[KnowledgeRecord]:
    return [
        KnowledgeRecord(str(row), extraction, "", vector.tobytes())
        for row, vector in enumerate(vectors)
    ]


def some_vectors(rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, 4)) * [1, 0.01, 3, 0] + [0, 20, -5, 1]).astype(np.float16)


def test_mean_and_deviation_are_those_of_all_records_together(tmp_path):
    parts = [some_vectors(rows, rows) for rows in (1, 40, 7)]
    statistics = [shard_statistics(shard, records(part)) for shard, part in enumerate(parts)]
    path = tmp_path / "statistics.npz"
    report = write_vector_statistics(str(path), statistics[::-1])
    whole = np.concatenate(parts).astype(np.float64)
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["count"] == 48
        np.testing.assert_allclose(arrays["mean"], whole.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(
            arrays["standard_deviation"], whole.std(axis=0), rtol=1e-9, atol=1e-15
        )
    assert report["dimension"] == 4
    norms = np.linalg.norm(whole, axis=1)
    assert report["norms"]["median"] == pytest.approx(np.median(norms), rel=1e-5)


def test_the_order_of_the_shards_changes_no_bit():
    statistics = [shard_statistics(shard, records(some_vectors(9, shard))) for shard in range(5)]
    one, two = combine(statistics), combine(statistics[::-1])
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.squares, two.squares)


def test_norms_are_reported_by_extraction(tmp_path):
    individual = np.array([[3, 4], [6, 8]], np.float16)
    collective = np.array([[0, 1]], np.float16)
    mixed = records(individual) + records(collective, "collective")
    path = str(tmp_path / "statistics.npz")
    report = write_vector_statistics(path, [shard_statistics(0, mixed)])
    assert report["norms"] == {
        "minimum": 1.0,
        "lower_quartile": 3.0,
        "median": 5.0,
        "upper_quartile": 7.5,
        "maximum": 10.0,
        "mean": 5.33333,
    }
    assert report["norms_by_extraction"]["individual"]["mean"] == 7.5
    assert report["norms_by_extraction"]["collective"]["maximum"] == 1.0
    only = shard_statistics(0, records(individual))
    report = write_vector_statistics(path, [only])
    assert list(report["norms_by_extraction"]) == ["individual"]


def test_numbers_are_rounded_to_six_digits():
    assert norm_report(np.array([1 / 3]))["mean"] == 0.333333


def test_vectors_of_different_widths_are_refused():
    wide, narrow = np.ones((1, 3), np.float16), np.ones((1, 2), np.float16)
    with pytest.raises(CommandError, match=r"different widths \(2, 3\).*knowledge.encoder.cache"):
        shard_statistics(0, records(wide) + records(narrow))
    with pytest.raises(CommandError, match="different widths"):
        combine([shard_statistics(0, records(wide)), shard_statistics(1, records(narrow))])
