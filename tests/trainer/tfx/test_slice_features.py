from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from tests.scenarios import rich_scenario, tiny_scenario
from trainer.tfx.slice_features import activity_groups, check_slices, sliceable_features


def test_groups_of_activity_follow_each_other() -> None:
    assert activity_groups() == ["0-19", "20-49", "50-99", "100-199", "200-499", "500+"]


def test_ids_whole_numbers_and_categories_are_groups() -> None:
    names = {"user_activity", "user_id", "item_id", "timestamp", "position", "user_fold"}
    assert {*sliceable_features(tiny_scenario().data)} == names
    assert {*sliceable_features(rich_scenario().data)} == names | {"profile_city"}


def test_features_that_are_asked_for_twice_count_once() -> None:
    asked = ["user_fold", "user_activity", "user_fold"]
    assert check_slices(asked, tiny_scenario().data) == ("user_fold", "user_activity")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("user_activiti", "Did you mean 'user_activity'?"),
        ("history_item_id", "Did you mean"),
        ("profile_city", "Possible: user_activity, user_id, item_id"),
        ("profile_age", "Possible: user_activity"),
    ],
)
def test_other_features_are_refused(name: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_slices([name], tiny_scenario().data)
    assert f"--slice '{name}'" in str(caught.value) and hint in str(caught.value)
