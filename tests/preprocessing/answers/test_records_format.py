from __future__ import annotations

import pytest

from preprocessing.answers.formats import Expected, is_record, read_record
from preprocessing.answers.record import RejectedAnswer
from tests.preprocessing.answers.small_files import batch_line, completion, record

ITEM = Expected(source="item", model="asked")


def test_a_record_keeps_what_it_says():
    read = read_record(
        record("7", "x", custom_id="user/other", model="m", finish_reason="length"), ITEM
    )
    assert read.record()["custom_id"] == "user/other"
    assert (read.model, read.finish_reason) == ("m", "length")
    assert read_record(record("7", "x"), ITEM).model == "asked"


def test_what_the_prompt_reached_over_is_kept():
    written = read_record(record("7", "x", interactions_seen=30), ITEM).record()
    assert written["interactions_seen"] == 30
    assert "interactions_seen" not in read_record(record("7", "x"), ITEM).record()
    with pytest.raises(RejectedAnswer, match="wrong_type: field 'interactions_seen'"):
        read_record(record("7", "x", interactions_seen=1.5), ITEM)


def test_other_sources_and_extractions_are_rejected():
    for expected in (Expected("user"), Expected("item", "collective")):
        with pytest.raises(RejectedAnswer) as raised:
            read_record(record("7", "x"), expected)
        assert raised.value.reason.endswith("_mismatch")


def test_lines_of_other_formats_are_not_recognised():
    assert is_record(record("7", "x"))
    assert not is_record(batch_line("item/7", "x"))
    assert not is_record(completion("x", prompt="7"))


def test_structured_answers_stay_structured():
    factors = {"genre": "noir", "plot": "a heist"}
    written = read_record(record("7", "genre: noir", factors=factors), ITEM).record()
    assert written["factors"] == factors
    assert "factors" not in read_record(record("7", "x"), ITEM).record()
    with pytest.raises(RejectedAnswer, match="wrong_type: field 'factors'"):
        read_record(record("7", "x", factors=["noir"]), ITEM)
