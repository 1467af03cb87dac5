from __future__ import annotations

from serving.model_card.texts import INTENDED_USE, LEAK_RULES, WHAT_IT_IS, limits, privacy
from tests.scenarios import rich_scenario, tiny_scenario


def test_every_kind_of_model_and_every_result_of_the_leak_check_has_a_text() -> None:
    assert set(WHAT_IT_IS) == set(INTENDED_USE) == {"ctr", "rerank", "retrieval"}
    assert set(LEAK_RULES) == {"verified", "declared", "unverified"}


def test_limits_follow_from_the_settings() -> None:
    plain = limits(tiny_scenario(model__adapter="none"), "ctr")
    knowing = limits(tiny_scenario(model__adapter="hein"), "ctr")
    assert len(knowing) == len(plain) + 1
    assert "language model" in knowing[-1]
    listwise = limits(rich_scenario(training__list_loss="listwise"), "rerank")
    assert any("share of its list" in text for text in listwise)
    assert not any("probabilities on data" in text for text in listwise)
    weighted = limits(tiny_scenario(training__class_weights=[1, 3]), "ctr")
    assert any("not calibrated" in text for text in weighted)


def test_user_ids_are_spoken_of_where_the_export_has_them() -> None:
    without = " ".join(privacy(tiny_scenario(), {}))
    having = " ".join(privacy(tiny_scenario(), {"user": {}, "user_liked": {}}))
    assert "It holds no user ids." in without
    assert "raw ids of the users who have user knowledge (user, user_liked)" in having
    profiles = " ".join(privacy(rich_scenario(), {}))
    assert "(city, age)" in profiles
    assert "(city, age)" not in " ".join(privacy(rich_scenario(model__user_profile=False), {}))
