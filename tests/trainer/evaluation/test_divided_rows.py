from __future__ import annotations

import numpy as np
import pytest

from tests.runs import rich_run, shared_store
from tests.scenarios import USERS_WITH_ANSWER, rich_scenario
from trainer.evaluation.part_scores import PartScores, divided_rows
from trainer.model_kinds import predictor_of


@pytest.mark.parametrize("backbone", ["din", "prm", "two_tower"])
def test_rows_are_those_of_the_predictions_table(backbone: str) -> None:
    run = rich_run(backbone)
    predictions = predictor_of(run.model).predict(
        shared_store().examples(run.scenario, run.model, "test")
    )
    scores = PartScores(rich_scenario(), "test", run.model.kind, (), [predictions])
    actual = divided_rows(scores, ["cold_item", "knowledge.user", "profile.city"])
    assert list(actual) == ["cold_item", "knowledge.user", "profile.city"]
    users = predictions.table()["user_id"].to_pylist()
    assert list(actual["knowledge.user"]) == ["individual", "group", "missing"]
    expected = [user in USERS_WITH_ANSWER for user in users]
    np.testing.assert_array_equal(actual["knowledge.user"]["individual"], expected)
    np.testing.assert_array_equal(actual["knowledge.user"]["missing"], np.logical_not(expected))
    assert not actual["knowledge.user"]["group"].any()
    counted = sum(rows.astype(int) for rows in actual["profile.city"].values())
    assert counted.min() == 1 and counted.max() > 1
