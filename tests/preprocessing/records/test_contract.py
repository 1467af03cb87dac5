from __future__ import annotations

import pytest

from configs.data import Data
from preprocessing.records import contract
from preprocessing.records.contract import CTR, FeatureType, features_of


def test_names_are_unique():
    for features in (*contract.FEATURES_OF_KIND.values(), contract.KNOWLEDGE_FEATURES):
        names = [feature.name for feature in features]
        assert len(set(names)) == len(names)


def test_every_kind_has_features():
    assert tuple(contract.FEATURES_OF_KIND) == contract.EXAMPLE_KINDS


def test_requests_carry_features_of_ctr_examples():
    assert set(contract.REQUEST_FEATURES) < set(contract.EXAMPLE_FEATURES)
    assert len(contract.REQUEST_FEATURES) == 7


@pytest.mark.parametrize(("kind", "expected"), [("categorical", "BYTES"), ("numeric", "FLOAT")])
def test_a_profile_attribute_is_a_list(kind, expected):
    feature = contract.profile_feature("age", kind)
    assert feature.name == "profile_age" and feature.is_list
    assert feature.type is contract.FeatureType[expected]


def test_every_feature_is_documented(repository_root):
    rows = (repository_root / "docs" / "examples.md").read_text(encoding="utf-8").splitlines()
    documented = {row.split("|")[1].strip(): row for row in rows if row.startswith("| `")}
    for kind, features in contract.FEATURES_OF_KIND.items():
        for feature in features:
            kinds = documented[f"`{feature.name}`"].split("|")[2]
            assert "all" in kinds or f"`{kind}`" in kinds, (kind, feature.name)
    assert "`profile_<name>`" in documented


def test_an_extra_label_is_one_number_named_after_it():
    feature = contract.extra_label_feature("loved")
    assert (feature.name, feature.type, feature.is_list) == (
        "label_loved",
        contract.FeatureType.FLOAT,
        False,
    )
    assert contract.LABEL_PREFIX == "label_"


DATA = Data.model_validate(
    {
        "interactions": {"path": "i.csv"},
        "catalogue": {"path": "c.csv"},
        "profiles": {"path": "p.csv", "attributes": {"age": {"kind": "numeric"}}},
        "labels": {"loved": {"minimum_rating": 5}, "finished": {"column": "seen"}},
    }
)


def test_ctr_examples_have_the_extra_labels_in_the_order_of_the_configuration():
    last = features_of(CTR, DATA)[-3:]
    assert [feature.name for feature in last] == ["label_loved", "label_finished", "profile_age"]
    assert [feature.type for feature in last] == [FeatureType.FLOAT] * 3
    assert [feature.is_list for feature in last] == [False, False, True]


def test_other_kinds_have_no_extra_labels():
    for kind in ("rerank", "retrieval"):
        names = [feature.name for feature in features_of(kind, DATA)]
        assert names[-1] == "profile_age"
        assert not any(name.startswith("label_") for name in names)
