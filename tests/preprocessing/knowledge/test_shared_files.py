from __future__ import annotations

import pytest

from preprocessing.knowledge.accepting import AnswerFile, belongs_elsewhere

OTHERS = frozenset({"user"})


def elsewhere(record: dict | None, extraction: str, has_both: bool = False) -> bool:
    return belongs_elsewhere(record, AnswerFile(0, "a", "/a", extraction, has_both), OTHERS)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"source": "user"}, True),
        ({"source": "item", "extraction": "collective"}, False),
        ({"source": "film"}, False),
        ({"source": ["user"]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_only_configured_sources_are_others(record, expected):
    assert elsewhere(record, "individual") is expected


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"source": "item", "extraction": "individual"},
        {"source": "item", "extraction": "collective"},
        {"source": "film", "extraction": "collective"},
        {"source": "item", "extraction": 3},
    ],
)
def test_of_two_readings_one_is_in_charge_of_each_line(record):
    readings = [elsewhere(record, name, True) for name in ("individual", "collective")]
    says_collective = record is not None and record.get("extraction") == "collective"
    assert readings == [says_collective, not says_collective]
