from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.runs import raw_requests, shared_store, written_run
from trainer import prediction
from trainer.examples import PreparedExamples
from trainer.prediction import predict


@pytest.mark.parametrize("arm", ["hein", "ridge"])
def test_scores_are_the_models_probabilities_of_raw_features(arm: str) -> None:
    run = written_run("din", arm)
    examples = shared_store().examples(run.scenario, run.model, "test")
    scores = predict(run.model, examples)
    assert scores.shape == (len(examples),) and scores.dtype == np.float32
    assert scores.std() > 0.01
    expected = run.model.probabilities(raw_requests(run.scenario)).numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def first_rows(examples: PreparedExamples, count: int) -> PreparedExamples:
    return dataclasses.replace(
        examples,
        features={name: values[:count] for name, values in examples.features.items()},
        labels=examples.labels[:count],
    )


@pytest.mark.parametrize("count", [1, 39, 40, 41, 81])
def test_batch_boundaries_lose_and_reorder_nothing(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written_run("din", "hein")
    examples = shared_store().examples(run.scenario, run.model, "test")
    expected = predict(run.model, examples)[:count]
    monkeypatch.setattr(prediction, "_BATCH", 40)
    scores = predict(run.model, first_rows(examples, count))
    np.testing.assert_allclose(scores, expected, atol=1e-6)
