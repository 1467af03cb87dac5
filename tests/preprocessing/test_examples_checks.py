from __future__ import annotations

from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.data import Data, Split
from configs.loading import ConfigurationError
from preprocessing.examples_manifest import (
    require_consistent_settings,
    require_samples,
    thin_parts,
    unread_rows,
)

TREE = {"interactions": {"path": "i.csv"}, "catalogue": {"path": "c.csv"}}
IMPLICIT = {"interactions": {"path": "i.csv", "columns": {"rating": None}}}


def check(split: str = "time", **settings: object) -> None:
    require_consistent_settings(Data.model_validate({**TREE, **settings}), Split(by=split))


def test_the_defaults_go_together():
    check()


def test_a_global_time_split_needs_a_time():
    no_time = {"path": "i.csv", "columns": {"timestamp": None, "order": "n"}}
    with pytest.raises(ConfigurationError, match=r"split\.by.*columns\.timestamp"):
        check("global_time", interactions=no_time)
    check("global_time")
    check("time", interactions=no_time)


def test_a_global_time_split_refuses_another_order():
    ordered = {"path": "i.csv", "columns": {"order": "rank"}}
    with pytest.raises(ConfigurationError, match=r"split\.by.*columns\.order 'rank'"):
        check("global_time", interactions=ordered)
    for split in ("time", "user"):
        check(split, interactions=ordered)


def test_implicit_feedback_needs_sampled_items():
    with pytest.raises(ConfigurationError, match="all labels would be 1.*per_positive"):
        check(**IMPLICIT)
    check(**IMPLICIT, negatives={"per_positive": 1})
    check(**IMPLICIT, examples=["retrieval", "rerank"])
    labelled = {"path": "i.csv", "columns": {"rating": None, "label": "clicked"}}
    check(interactions=labelled)
    full = {"window": 10, "length": 10}
    with pytest.raises(ConfigurationError, match=r"all labels would be 1.*data\.rerank\.length"):
        check(**IMPLICIT, examples=["rerank"], rerank=full)
    check(**IMPLICIT, examples=["retrieval"], rerank=full)
    check(examples=["rerank"], rerank=full)


def test_vocabularies_of_items_and_users_do_not_meet():
    attribute = {"kind": "categorical"}
    profiles = {"path": "p.csv", "attributes": {"age": attribute}}
    catalogue = {"path": "c.csv", "attributes": {"profile_age": attribute}}
    with pytest.raises(ConfigurationError, match="'profile_age' is the name of a user attribute"):
        check(profiles=profiles, catalogue=catalogue)
    check(catalogue=catalogue)
    check(profiles=profiles)


def counts(parts: tuple[int, int, int], positives: tuple[int, int, int], *kinds: str) -> dict:
    names = ("train", "validation", "test")
    return {
        "parts": dict(zip(names, parts, strict=True)),
        "positives": dict(zip(names, positives, strict=True)),
        "examples": dict.fromkeys(kinds, {}),
    }


def test_parts_with_both_classes_pass():
    assert thin_parts(counts((9, 2, 2), (4, 1, 1), "ctr")) == []


def test_parts_that_lack_samples_or_a_class_are_named():
    empty, negative, positive = thin_parts(counts((0, 3, 2000), (0, 0, 2000), "ctr", "rerank"))
    assert empty.startswith("part 'train' has no samples")
    assert negative.startswith("all 3 samples of part 'validation' have label 0")
    assert positive.startswith("all 2,000 samples of part 'test' have label 1")


def test_lists_and_retrieval_need_no_negative_samples():
    (warning,) = thin_parts(counts((9, 2, 3), (9, 2, 0), "rerank", "retrieval"))
    assert warning.startswith("all 3 samples of part 'test' have label 0")


def test_what_was_not_read_of_the_tables_is_said():
    read = {"records_in": 9, "records_out": 7, "dead_letters": 2}
    reasons = {"rejected_by_reason": {"missing_item_id": 2}}
    whole = {"records_in": 4, "records_out": 4, "dead_letters": 0, "rejected_by_reason": {}}
    lost = {"rejected_by_reason": {"missing_user_id": 1, "unparsable_rating": 1500}}
    log, rejected, unreadable = unread_rows(
        {
            **{"records_in": 4000, "dead_letters": 1501, **lost},
            "catalogue": {**read, **reasons, "unreadable_numbers": {"year": 0}},
            "profiles": {**whole, "unreadable_numbers": {"age": 4}},
        },
        Path("x.jsonl"),
    )
    assert log == (
        "1,501 of 4,000 rows of data.interactions were rejected "
        "(missing_user_id 1, unparsable_rating 1,500); x.jsonl has them"
    )
    assert rejected.startswith("2 of 9 rows of data.catalogue were rejected (missing_item_id 2)")
    assert rejected.endswith("; x.jsonl has them")
    assert unreadable.startswith("data.profiles.attributes.age: 4 values of 4 rows are no numbers")
    assert unread_rows({"catalogue": {**whole, "unreadable_numbers": {}}}, Path("x")) == []


def test_where_the_interactions_went_is_said():
    where = {"records_in": 9, "filtered_out": 3, "dead_letters": 2, "history_only": 4}
    reasons = {"unparsable_rating": 2}
    require_samples({**where, "samples": 1, "rejected_by_reason": reasons})
    message = r"of 9 interactions 3 were .*, 2 rejected \(unparsable_rating 2\), and 4 are history"
    with pytest.raises(CommandError, match=message):
        require_samples({**where, "samples": 0, "rejected_by_reason": reasons})
