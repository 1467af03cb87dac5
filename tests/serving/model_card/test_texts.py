from __future__ import annotations

from preprocessing.records.leak_rule import LeakRule
from serving.model_card.markdown import INTENDED_USE, LEAK_RULES, WHAT_IT_IS, limits, privacy
from tests.scenarios import rich_scenario, tiny_scenario


def test_every_kind_of_model_and_every_result_of_the_leak_check_has_a_text() -> None:
    assert set(WHAT_IT_IS) == set(INTENDED_USE) == {"ctr", "rerank", "retrieval"}
    assert set(LEAK_RULES) == {rule.value for rule in LeakRule}


def test_limits_follow_from_the_settings() -> None:
    plain = limits(tiny_scenario(model__adapter="none"), "ctr")
    knowing = limits(tiny_scenario(model__adapter="hein"), "ctr")
    assert len(knowing) == len(plain) + 1
    assert "language model" in knowing[-1]
    listwise = limits(
        rich_scenario(training__list_loss="listwise", model__backbone="prm"), "rerank"
    )
    assert any("share of its list" in text for text in listwise)
    assert not any("probabilities on data" in text for text in listwise)
    weighted = limits(tiny_scenario(training__class_weights=[1, 3]), "ctr")
    assert any("not calibrated" in text for text in weighted)


def test_sampled_items_are_named_and_nobody_is_said_to_have_seen_them() -> None:
    logged = limits(tiny_scenario(), "ctr")[0]
    assert "Those are of items that users came to see" in logged
    by_popularity = {"data__negatives__per_positive": 4, "data__negatives__by": "popularity"}
    drawn = limits(tiny_scenario(**by_popularity), "ctr")[0]
    assert "sampled negatives (4 for each positive sample, by popularity)" in drawn
    lists = limits(rich_scenario(), "rerank")[0]
    assert "sampled items, which fill up the lists (every item alike)" in lists
    for text in (drawn, lists):
        assert "came to see" not in text
        assert "Nobody knows whether the users ever saw the sampled items" in text
    # Retrieval is trained on chosen items alone.
    assert limits(rich_scenario(**by_popularity), "retrieval")[0] == logged


def test_user_ids_are_spoken_of_where_the_export_has_them() -> None:
    tfidf, others = {"kind": "tfidf"}, {"kind": "minilm"}
    knowledge = {
        "item": {"entity": "item", "encoder": tfidf},
        "user": {"entity": "user", "encoder": others},
        "user_liked": {"entity": "user", "encoder": None},
    }
    without = " ".join(privacy(tiny_scenario(), "ctr", {}))
    having = " ".join(privacy(tiny_scenario(), "ctr", knowledge))
    assert "It holds no user ids, neither raw nor hashed." in without
    assert "assets.extra/refresh" not in without
    assert "no raw ids of items but a 63-bit hash" in without
    assert "users who have user knowledge (user, user_liked) it holds no raw ids but" in having
    assert "says of every item and of these users whether there is an answer" in having
    assert "terms of the TF-IDF encoder (item)" in having
    of_search = " ".join(privacy(tiny_scenario(), "retrieval", {}))
    assert "holds the raw ids of all items" in of_search


def test_profiles_are_spoken_of_where_the_model_reads_them() -> None:
    profiles = " ".join(privacy(rich_scenario(), "ctr", {}))
    assert "(city, age), whose values known at training stand in the graph" in profiles
    without = " ".join(privacy(rich_scenario(model__user_profile=False), "ctr", {}))
    assert "(city, age)" not in without
