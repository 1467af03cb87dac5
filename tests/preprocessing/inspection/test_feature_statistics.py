from __future__ import annotations

import numpy as np

from preprocessing.inspection.views import FeatureStatistics


def test_statistics_of_texts_and_numbers():
    statistics = FeatureStatistics()
    statistics.add({"id": [b"a"], "score": np.array([1, np.nan, 0], np.float32)})
    statistics.add({"id": [b"b"], "score": np.array([4.5], np.float32)})
    statistics.add({"id": [b"a"], "time": np.array([1_260_759_205], np.int64)})
    summary = statistics.summary()
    assert summary["id"] == {
        "type": "bytes",
        "records": 3,
        "values_per_record": {"minimum": 1, "mean": 1.0, "maximum": 1},
        "distinct": 2,
        "most_common": [["a", 2], ["b", 1]],
    }
    assert summary["score"] == {
        "type": "float32",
        "records": 2,
        "values_per_record": {"minimum": 1, "mean": 2.0, "maximum": 3},
        "minimum": 0.0,
        "mean": 1.83333,
        "maximum": 4.5,
        "share_of_zeros": 0.3333,
        "not_finite": 1,
    }
    assert summary["time"]["minimum"] == summary["time"]["maximum"] == 1_260_759_205


def test_a_feature_without_values():
    statistics = FeatureStatistics()
    statistics.add({"score": np.zeros(0, np.float32)})
    assert statistics.summary()["score"]["values_per_record"]["maximum"] == 0


def test_distinct_texts_are_counted_up_to_a_bound():
    statistics = FeatureStatistics()
    for start in range(0, 150_000, 50_000):
        statistics.add({"id": [str(number).encode() for number in range(start, start + 50_000)]})
    assert statistics.summary()["id"]["distinct"] == "more than 100000"
