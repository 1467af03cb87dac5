from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from preprocessing.records.contract import Feature, FeatureType, profile_feature
from trainer.evaluation import part_scores
from trainer.evaluation.part_scores import ExampleFeatureReader

POSITION = Feature("position", FeatureType.INT64, False, "")
FEATURES = [POSITION, profile_feature("city", "categorical"), profile_feature("age", "numeric")]
CITIES = [[], ["Oslo"], ["Lima", "São Paulo"], [], ["Bonn"]]
AGES = [[30.5], [], [41.0], [], []]


def write(path: Path, numbers: Sequence[int]) -> Path:
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for number in numbers:
            cities = [city.encode() for city in CITIES[number % 5]]
            features = {
                "position": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
                "profile_city": tf.train.Feature(bytes_list=tf.train.BytesList(value=cities)),
                "profile_age": tf.train.Feature(
                    float_list=tf.train.FloatList(value=AGES[number % 5])
                ),
                "other": tf.train.Feature(float_list=tf.train.FloatList(value=[1])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return path


@pytest.mark.parametrize("steps", [[23], [1] * 23, [4, 0, 9, 10], [5, 5, 5, 8]])
def test_examples_come_in_order_in_any_steps(
    steps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_scores, "_READ_BATCH", 5)
    files = [write(tmp_path / "a.gz", range(11)), write(tmp_path / "b.gz", range(11, 23))]
    columns = ExampleFeatureReader(files, FEATURES)
    numbers = []
    for step in steps:
        table = columns.take(step)
        assert table.num_rows == step
        actual = table.to_pydict()
        numbers += actual["position"]
        assert actual["profile_city"] == [CITIES[n % 5] for n in actual["position"]]
        ages = [(AGES[n % 5] or [None])[0] for n in actual["position"]]
        assert actual["profile_age"] == ages
    assert numbers == list(range(23))


def test_lists_that_are_all_empty_are_lists_all_the_same(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.gz", [3, 8])]
    actual = ExampleFeatureReader(files, FEATURES).take(2).to_pydict()
    assert actual == {"position": [3, 8], "profile_city": [[], []], "profile_age": [None, None]}


def test_a_single_feature_is_read_alone(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.gz", [2, 4])]
    assert ExampleFeatureReader(files, [POSITION]).take(2).to_pydict() == {"position": [2, 4]}
