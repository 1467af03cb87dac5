from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from models.retrieving import RetrievalModel
from preprocessing.records.contract import Feature, FeatureType, features_of, profile_feature
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from tests.runs import rich_run, shared_store
from tests.scenarios import rich_scenario
from trainer import examples as examples_module
from trainer.evaluation import part_scores
from trainer.evaluation.part_scores import ExampleFeatureReader, PartScores
from trainer.evaluation.runs import run_scores
from trainer.examples import PreparedExamples
from trainer.metrics import Ranks
from trainer.model_kinds import predictor_of
from trainer.predictions import (
    ListPredictions,
    Predictions,
    RetrievalPredictions,
    SamplePredictions,
)


def synthetic(users: np.ndarray, kind: str) -> Predictions:
    count = len(users)
    if kind == "rerank":
        items = np.tile(["a", "b", ""], [count, 1])
        return ListPredictions(users, items, np.ones([count, 3]), np.ones([count, 3]) / 2)
    items = np.array(["a"] * count)
    if kind == "retrieval":
        ranks = Ranks(np.arange(count), np.zeros(count, int))
        return RetrievalPredictions(users, items, ranks, ranks)
    return SamplePredictions(users, items, np.ones(count), np.ones(count) / 2)


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_features_of_an_example_stand_beside_all_of_its_rows(kind: str) -> None:
    scenario = rich_scenario()
    features_read = [f for f in features_of(kind, scenario.data) if f.name != "item_id"]
    files = WorkDirectory(scenario.work_dir).examples.shards("test", kind)
    (raw,) = example_dataset(files, 4096, features_read)
    users, positions = raw["user_id"].numpy().astype(str), raw["position"].numpy()
    cuts = [1, 4, 20]
    predictions = [synthetic(some, kind) for some in np.split(users, cuts)]
    scores = PartScores(scenario, "test", kind, (), predictions)
    tables = list(scores.tables(["position", "profile_city", "profile_age"]))
    assert len(tables) == len(cuts) + 1
    table = pa.concat_tables(tables)
    rows = np.repeat(np.arange(len(users)), 2 if kind == "rerank" else 1)
    assert table["user_id"].to_pylist() == users[rows].tolist()
    assert table["position"].to_pylist() == positions[rows].tolist()
    cities = [[c.decode() for c in cities if c] for cities in raw["profile_city"].numpy()]
    assert table["profile_city"].to_pylist() == [cities[row] for row in rows]
    assert any(age is not None for age in table["profile_age"].to_pylist())
    if kind == "rerank":
        assert table["list_id"].to_pylist() == rows.tolist()


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_without_features_the_tables_are_those_of_the_predictions(kind: str) -> None:
    users = np.array([f"u{number}" for number in range(6)])
    whole = synthetic(users, kind).table()
    parts = PartScores(
        rich_scenario(),
        "test",
        kind,
        (),
        [synthetic(some, kind) for some in (users[:2], users[2:])],
    )
    if kind == "retrieval":
        whole = whole.drop_columns(["rank", "rank_new_items"])
    actual = pa.concat_tables(parts.tables())
    assert actual.select(whole.column_names).equals(whole)


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


@pytest.mark.parametrize("backbone", ["din", "prm", "two_tower"])
def test_a_part_in_batches_has_the_predictions_of_the_whole(
    backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rich_run(backbone)
    examples = shared_store().examples(run.scenario, run.model, "test")
    whole = predictor_of(run.model).predict(examples).table()
    monkeypatch.setattr(examples_module, "_READ_BATCH", 13)
    seen: list[PreparedExamples] = []
    scores = run_scores(run.scenario, run.model, "test", seen.append)
    assert (scores.kind, list(scores.tasks), scores.part) == (run.model.kind, [], "test")
    tables = list(scores.tables())
    assert len(tables) == len(seen) > 2
    actual = pa.concat_tables(tables)
    assert actual.num_rows == whole.num_rows
    for name in whole.column_names:
        if name == "score":
            np.testing.assert_allclose(actual[name], whole[name], atol=1e-6)
        else:
            assert actual[name].to_pylist() == whole[name].to_pylist()


def test_items_are_computed_once_for_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    run = rich_run("two_tower")
    assert isinstance(run.model, RetrievalModel)
    computed = []
    original = type(run.model).all_item_vectors
    monkeypatch.setattr(
        type(run.model),
        "all_item_vectors",
        lambda model: computed.append(model) or original(model),
    )
    monkeypatch.setattr(examples_module, "_READ_BATCH", 13)
    assert len(list(run_scores(run.scenario, run.model, "test").tables())) > 2
    assert len(computed) == 1
