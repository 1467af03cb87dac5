from __future__ import annotations

import numpy as np
import pytest

from configs.scenario import Scenario
from models.building import build_model
from tests.runs import shared_store
from tests.scenarios import rich_scenario
from trainer.examples import PreparedExamples
from trainer.training import match_statistics


def statistics_and_features(
    scenario: Scenario, part: str = "train"
) -> tuple[tuple[np.ndarray, np.ndarray], dict]:
    model = build_model(scenario, shared_store().tables(scenario))
    examples = shared_store().examples(scenario, model, part)
    return match_statistics(model, examples), dict(examples.features)


def test_statistics_are_those_of_all_training_samples() -> None:
    (mean, deviation), features = statistics_and_features(rich_scenario(model__match="means"))
    assert features["match"].shape[1] == len(mean) > 2
    np.testing.assert_allclose(mean, np.nanmean(features["match"], axis=0), atol=1e-5)
    np.testing.assert_allclose(deviation, np.nanstd(features["match"], axis=0), atol=1e-5)


def test_candidates_of_which_nothing_is_known_do_not_count() -> None:
    scenario = rich_scenario(model__match="ridge")
    model = build_model(scenario, shared_store().tables(scenario))
    match = np.array([[1.0, np.nan, 2.0], [3.0, np.nan, np.nan]], np.float32)
    examples = PreparedExamples({"match": match}, np.zeros(2), np.zeros(2), np.zeros(2))
    mean, deviation = match_statistics(model, examples)
    np.testing.assert_array_equal(mean, [2, 0, 2])
    np.testing.assert_array_equal(deviation, [1, 0, 0])


def test_padding_of_lists_does_not_count() -> None:
    scenario = rich_scenario(model__backbone="prm", model__match="ridge")
    (mean, deviation), features = statistics_and_features(scenario, "test")
    mask = features["candidate_mask"]
    assert not mask.all()
    candidates = np.array(
        [values for row, real in zip(features["match"], mask, strict=True) for values in row[real]]
    )
    np.testing.assert_allclose(mean, np.nanmean(candidates, axis=0), atol=1e-5)
    np.testing.assert_allclose(deviation, np.nanstd(candidates, axis=0), atol=1e-5)


@pytest.mark.parametrize("backbone", ["din", "prm"])
def test_a_learned_match_starts_with_the_statistics_of_the_fixed_one(backbone: str) -> None:
    options = {"model__backbone": backbone, "model__match": "ridge"}
    fixed, _ = statistics_and_features(rich_scenario(**options))
    learned, features = statistics_and_features(
        rich_scenario(**options, model__knowledge_match__learned=True)
    )
    assert "match" not in features
    np.testing.assert_allclose(learned, fixed, atol=1e-4)
