from __future__ import annotations

from preprocessing.records.coverage import IdCoverage


def test_ids_and_rows_are_counted_and_shares_follow():
    coverage = IdCoverage.measure("item", {"1": 5, "2": 3, "30": 2}, ["2", "30", "x"])
    assert coverage.as_dictionary() == {
        "entity": "item",
        "ids": 3,
        "covered_ids": 2,
        "share_of_ids": 0.666667,
        "interactions": 10,
        "covered_interactions": 5,
        "share_of_interactions": 0.5,
    }
    assert (coverage.lacking, coverage.unused) == (("1",), ("x",))
    assert not coverage.is_empty


def test_what_does_not_meet_is_empty_and_nothing_to_cover_is_not():
    assert IdCoverage.measure("item", {"7.0": 1}, ["7"]).is_empty
    assert not IdCoverage.measure("item", {}, ["7"]).is_empty
    assert IdCoverage.measure("item", {}, ["7"]).share == 1.0
    assert IdCoverage.measure("item", {"7": 0, "8": 0}, ["7"], "samples").share == 0.5


def test_ids_of_users_are_shown_by_their_shape_only():
    coverage = IdCoverage.measure("user", {"ann-41": 1, "bob-42": 2}, ["zoe_7", "é"])
    assert coverage.lacking == ("aaa-99",)
    assert coverage.unused == ("a", "aaa_9")
