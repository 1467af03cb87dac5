from __future__ import annotations

import pytest

from preprocessing.knowledge.manifest import describe_vectors

STATISTICS = [
    {"read": 3},
    {"read": 4},
    {"accepted": 6, "answers_without_history": 2},
    {"usable": 5},
    {"texts": 4, "texts_from_cache": 3},
    {"texts_encoded": 1, "tokens": 9},
    {"individual_entities": 3, "collective_entities": 0},
    {"collective_entities": 2, "entities_without_answer": 3, "unused_group_answers": 1},
    {"group_rows": 9},
    {"shard": 1, "records": 4},
    {"shard": 0, "records": 1},
    {"vectors": {"dimension": 8, "norms": {}}},
]
REJECTED = {
    "a.jsonl": {"duplicate_entity": 1},
    "b.jsonl": {"duplicate_entity": 0, "zero_vector": 1},
    "groups.csv": {"duplicate_entity": 2},
}


def test_counts_of_all_workers_are_added_up():
    described = describe_vectors(STATISTICS, REJECTED, "groups.csv", {"kind": "toy"})
    assert described["counts"] == {
        "records_in": 7,
        "records_out": 5,
        "dead_letters": 2,
        "other_sources": 0,
        "rejected_by_reason": {"duplicate_entity": 1, "zero_vector": 1},
        "knowledge_records": 5,
        "individual_entities": 3,
        "collective_entities": 2,
        "entities_without_answer": 3,
        "unused_group_answers": 1,
        "groups": {
            "records_in": 9,
            "records_out": 7,
            "dead_letters": 2,
            "rejected_by_reason": {"duplicate_entity": 2},
        },
        "texts": 4,
        "answers_without_history": 2,
    }
    assert described["shares"] == {"individual": 0.375, "collective": 0.25, "none": 0.375}
    assert described["encoder"] == {"kind": "toy", "dimension": 8}
    assert [shard["shard"] for shard in described["shards"]] == [0, 1]


def test_what_the_cache_saved_is_not_part_of_the_result():
    assert "texts_from_cache" not in str(describe_vectors(STATISTICS, REJECTED, "groups.csv", {}))
    without = [
        {name: count for name, count in entry.items() if name not in ("texts_from_cache", "tokens")}
        for entry in STATISTICS
    ]
    assert describe_vectors(STATISTICS, REJECTED, "groups.csv", {}) == describe_vectors(
        without, REJECTED, "groups.csv", {}
    )


def test_lost_records_are_noticed():
    with pytest.raises(AssertionError, match="lost or counted twice"):
        describe_vectors([*STATISTICS, {"read": 1}], REJECTED, "groups.csv", {})


def test_records_of_other_sources_are_counted_apart():
    shared = [*STATISTICS, {"read": 3, "other_sources": 3}]
    counts = describe_vectors(shared, REJECTED, "groups.csv", {})["counts"]
    assert (counts["records_in"], counts["records_out"]) == (7, 5)
    assert (counts["dead_letters"], counts["other_sources"]) == (2, 3)
