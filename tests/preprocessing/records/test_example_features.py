from __future__ import annotations

from configs.data import Data
from preprocessing.records.contract import CTR, FeatureType, features_of

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
