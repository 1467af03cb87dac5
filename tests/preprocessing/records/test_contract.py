from __future__ import annotations

import subprocess
import sys

import pytest

from preprocessing.records import contract


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


def test_the_contract_and_its_readers_need_neither_tensorflow_nor_beam(repository_root):
    program = (
        "import sys, preprocessing.records.contract, preprocessing.records.knowledge, "
        "preprocessing.records.item_tables, preprocessing.records.item_tables; "
        "print(sorted({'tensorflow', 'apache_beam'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository_root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"


def test_an_extra_label_is_one_number_named_after_it():
    feature = contract.extra_label_feature("loved")
    assert (feature.name, feature.type, feature.is_list) == (
        "label_loved",
        contract.FeatureType.FLOAT,
        False,
    )
    assert contract.LABEL_PREFIX == "label_"
