from __future__ import annotations

import numpy as np
import pytest

from models.retrieving import RetrievalModel
from tests.runs import rich_run, shared_store
from trainer.examples import PreparedExamples
from trainer.factorized_top_k import FactorizedTopK
from trainer.model_kinds import predictor_of


def examples_between(examples: PreparedExamples, start: int, end: int | None) -> PreparedExamples:
    return PreparedExamples(
        features={name: values[start:end] for name, values in examples.features.items()},
        labels=examples.labels[start:end],
        user_ids=examples.user_ids[start:end],
        item_ids=examples.item_ids[start:end],
    )


def test_it_is_the_share_of_ranks_below_k() -> None:
    run = rich_run("two_tower")
    assert isinstance(run.model, RetrievalModel)
    examples = shared_store().examples(run.scenario, run.model, "test")
    metric = FactorizedTopK(run.model)
    for part in (examples_between(examples, 0, 40), examples_between(examples, 40, None)):
        metric.add(part)
    shares = metric.shares()
    vectors = run.model.all_item_vectors()
    users = run.model.user_vectors(dict(examples.features)).numpy()
    rows = examples.features["item_row"]
    scores = users @ vectors[1:].T
    own = np.take_along_axis(scores, rows[:, np.newaxis] - 1, axis=1)
    ranks = (scores > own).sum(axis=1)
    assert rows.min() > 0
    expected = {str(k): (ranks < k).mean() for k in (1, 5, 10, 50)}
    assert shares == pytest.approx(expected)
    assert 0 < shares["10"] < 1
    metrics = predictor_of(run.model).predict(examples).metrics()
    assert {f"recall_at_{k}": share for k, share in shares.items()}.items() <= {
        key: pytest.approx(value, abs=1e-6) for key, value in metrics.items()
    }.items()
