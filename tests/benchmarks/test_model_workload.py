from __future__ import annotations

import numpy as np
import pytest

from benchmarks import model_workload
from benchmarks.model_workload import raw_batches, synthetic_tables, training_step

BATCH_SIZE = 6
ITEMS, USERS = 30, 20


@pytest.fixture(autouse=True)
def _few_entities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_workload, "NUM_ITEMS", ITEMS)
    monkeypatch.setattr(model_workload, "NUM_USERS", USERS)


def test_every_entity_has_knowledge() -> None:
    tables = synthetic_tables(dimension=4, seed=1)
    assert len(tables.catalogue.item_ids) == ITEMS
    shapes = {source: records.vectors.shape for source, records in tables.knowledge.items()}
    assert shapes == {"item": (ITEMS, 4), "user": (USERS, 4)}
    assert set(tables.knowledge["item"].entity_ids) == set(tables.catalogue.item_ids)


def test_requests_name_known_entities_and_popular_items_more_often() -> None:
    batches = raw_batches(BATCH_SIZE, history=300, seed=1)
    known = synthetic_tables(dimension=2, seed=1)
    drawn = np.concatenate([batch["history_item_id"].numpy().ravel() for batch in batches])
    names, counts = np.unique(drawn.astype(str), return_counts=True)
    assert set(names) <= set(known.catalogue.item_ids)
    by_name = dict(zip(names, counts, strict=True))
    # Popularity falls with the root of the rank: 1 to 1 / sqrt(25).
    assert 3 < by_name["i0"] / by_name["i24"] < 8
    for batch in batches:
        assert set(batch["user_id"].numpy().astype(str)) <= set(known.knowledge["user"].entity_ids)
        assert batch["history_item_id"].shape == (BATCH_SIZE, 300)


@pytest.mark.parametrize("match_in_step", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_step_trains_on_every_batch(match_in_step: bool) -> None:
    batches = raw_batches(BATCH_SIZE, history=5, seed=2)
    options = {"backbone": "deepfm", "top_units": [4], "match": "means"}
    step = training_step(options, synthetic_tables(4, 1), batches, match_in_step, seed=3)
    users = [len(set(batch["user_id"].numpy())) for batch in batches]
    assert step.samples == BATCH_SIZE * len(batches)
    assert step.distinct["user"] == np.mean(users)
    assert step.distinct["item"] <= BATCH_SIZE
    weights = step._model.trainable_weights
    before = [weight.numpy() for weight in weights]
    step()
    changed = [not np.array_equal(a, b.numpy()) for a, b in zip(before, weights, strict=True)]
    assert np.mean(changed) > 0.8
    assert int(step._model.optimizer.iterations) == 2 * len(batches)
