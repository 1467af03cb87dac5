from __future__ import annotations

import subprocess
import sys

from preprocessing.records import contract


def test_names_are_unique():
    for features in (contract.EXAMPLE_FEATURES, contract.KNOWLEDGE_FEATURES):
        names = [feature.name for feature in features]
        assert len(set(names)) == len(names)


def test_the_contract_and_its_readers_need_neither_tensorflow_nor_beam(repository_root):
    program = (
        "import sys, preprocessing.records.contract, preprocessing.records.knowledge, "
        "preprocessing.records.item_attributes, preprocessing.records.vocabularies; "
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
