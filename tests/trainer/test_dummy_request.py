from __future__ import annotations

import numpy as np
import pytest

from models.building import build_model
from tests.runs import shared_store
from tests.scenarios import rich_scenario, tiny_scenario
from trainer.run_folder import dummy_request

USER_FEATURES = {"user_id", "history_item_id", "history_rating"} | {
    "user_share_liked",
    "user_mean_rating",
    "user_log_count",
}


@pytest.mark.parametrize(
    ("backbone", "shape"), [("din", (1,)), ("prm", (1, 1)), ("two_tower", (1,))]
)
def test_every_kind_of_model_can_read_it(backbone: str, shape: tuple[int, ...]) -> None:
    scenario = rich_scenario(model__backbone=backbone)
    model = build_model(scenario, shared_store().tables(scenario))
    request = dummy_request(model)
    assert set(request) == {"item_id", "profile_city", "profile_age", *USER_FEATURES}
    assert tuple(request["item_id"].shape) == shape
    assert np.isnan(request["profile_age"].numpy()).all()
    assert request["profile_city"].numpy().tolist() == [[b""]]
    model(request)
    assert model.trainable_weights


def test_without_profiles_it_has_none() -> None:
    scenario = tiny_scenario(model__adapter="none")
    model = build_model(scenario, shared_store().tables(scenario))
    assert set(dummy_request(model)) == {"item_id", *USER_FEATURES}
