from __future__ import annotations

import pytest

from preprocessing.answers.formats import (
    Expected,
    is_id_text,
    is_klg,
    read_id_text_entry,
    read_klg_entry,
)
from preprocessing.answers.record import Answer, RejectedAnswer
from tests.preprocessing.answers.small_files import DOCUMENTS, record

ITEM = Expected("item", None, "m")


@pytest.mark.parametrize("name", ["answer", "ans"])
def test_an_entry_of_a_klg_file(name):
    read = read_klg_entry("7", {"prompt": "Why?", name: "So."}, ITEM)
    assert read == Answer("item", "7", "individual", "So.", "Why?", "m")
    assert read.finish_reason is None


def test_an_entry_that_is_a_text():
    read = read_id_text_entry("7", "So.", Expected("user", "collective"))
    assert read == Answer("user", "7", "collective", "So.")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("So.", "wrong_type"),
        ({"prompt": "Why?"}, "missing_field"),
        ({"answer": None}, "blank_answer"),
        ({"answer": "  "}, "blank_answer"),
        ({"answer": ["So."]}, "wrong_type"),
        ({"prompt": 3, "answer": "So."}, "wrong_type"),
    ],
)
def test_klg_entries_that_are_no_answers(value, reason):
    with pytest.raises(RejectedAnswer) as raised:
        read_klg_entry("7", value, ITEM)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("entity", "value", "reason"),
    [
        ("7", None, "blank_answer"),
        ("7", 3, "wrong_type"),
        ("", "So.", "blank_field"),
        ("7", "\ud800", "invalid_text"),
    ],
)
def test_text_entries_that_are_no_answers(entity, value, reason):
    with pytest.raises(RejectedAnswer) as raised:
        read_id_text_entry(entity, value, ITEM)
    assert raised.value.reason == reason


def test_recognition():
    assert is_klg(DOCUMENTS["klg"]) and not is_id_text(DOCUMENTS["klg"])
    assert is_id_text(DOCUMENTS["id-text"]) and not is_klg(DOCUMENTS["id-text"])
    assert is_id_text({"1": "text", "2": None})
    for other in ({}, record("1", "x"), {"1": 3}, {"1": {"prompt": "Why?"}}, {"prompt": "a"}):
        assert not is_klg(other) and not is_id_text(other)
