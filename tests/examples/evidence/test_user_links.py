from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from examples.evidence.user_links import with_features
from trainer.experiments.results import RunResult
from trainer.predictions import SamplePredictions


def predictions(seed: int, samples: int = 4000) -> tuple[SamplePredictions, np.ndarray]:
    """Labels of a logistic model of a score, which the model knows, and a feature beside it."""
    random = np.random.default_rng(seed)
    known, feature = random.normal(size=[2, samples])
    chance = 1 / (1 + np.exp(-known - 2 * feature))
    labels = (random.random(samples) < chance).astype(np.float32)
    users = random.integers(0, 50, samples).astype(str)
    of = SamplePredictions(users, np.full(samples, "i"), labels, 1 / (1 + np.exp(-known / 3)))
    return of, feature


def run() -> RunResult:
    test, _ = predictions(2)
    none = {"auc": 0.0}
    return RunResult("din", "none", 1, Path(), none, "auc", none, test, 1.0, 4, 10, [], False)


def test_features_are_weighed_by_the_validation_part() -> None:
    validation, of_validation = predictions(1)

    def features(of: SamplePredictions) -> np.ndarray:
        return (of_validation if of is validation else predictions(2)[1])[:, np.newaxis]

    after = with_features(run(), validation, features, "none_user_links")
    test, feature = predictions(2)
    logit = 3 * np.log(test.scores / (1 - test.scores))
    best = roc_auc_score(test.labels, logit + 2 * feature)
    assert after.knowledge == "none_user_links" and after.seed == 1
    assert after.test["auc"] == pytest.approx(best, abs=1e-3)
    assert after.test["auc"] > roc_auc_score(test.labels, test.scores) + 0.1
    assert after.validation["auc"] > 0.8
    # Weights of the logistic model that made the labels.
    scored = np.log(after.predictions.scores / (1 - after.predictions.scores))
    np.testing.assert_allclose(scored, logit + 2 * feature, atol=0.6)


def test_features_that_say_nothing_leave_the_order() -> None:
    def nothing(of: SamplePredictions) -> np.ndarray:
        return np.zeros([of.count, 2])

    after = with_features(run(), predictions(1)[0], nothing, "arm")
    test, _ = predictions(2)
    before = roc_auc_score(test.labels, test.scores)
    assert after.test["auc"] == pytest.approx(before, abs=1e-12)
