from __future__ import annotations

import pytest

from configs.data import Data, Split
from configs.loading import ConfigurationError
from preprocessing.examples_checks import require_consistent_settings

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
