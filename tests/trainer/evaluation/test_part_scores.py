from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from preprocessing.records.contract import features_of
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from tests.scenarios import rich_scenario
from trainer.evaluation.part_scores import PartScores
from trainer.metrics import Ranks
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
