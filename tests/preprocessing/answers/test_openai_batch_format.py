from __future__ import annotations

import pytest

from preprocessing.answers.formats import Expected, is_batch_line, read_batch_line
from preprocessing.answers.prompts import Prompt
from preprocessing.answers.record import RejectedAnswer
from tests.preprocessing.answers.small_files import batch_line, completion, record

ITEM = Expected("item")


def test_the_custom_id_says_what_the_answer_is_about():
    single = read_batch_line(batch_line("item/318", "x", "length"), ITEM)
    assert single.finish_reason == "length"
    assert single.record() == {
        "custom_id": "item/318",
        "source": "item",
        "entity_id": "318",
        "extraction": "individual",
        "model": "served-model",
        "prompt": None,
        "prompt_sha256": None,
        "answer": "x",
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    }
    group = read_batch_line(batch_line("item/group/7", "x"), ITEM)
    assert (group.extraction, group.entity_id) == ("collective", "7")


def test_the_prompt_that_was_sent_says_what_it_reached_over():
    asked = Prompt(1, "user/p", "user", "ann", "individual", "?", "", interactions_seen=9)
    expected = Expected("user", prompts={"user/p": asked})
    record = read_batch_line(batch_line("user/p", "x"), expected).record()
    assert (record["entity_id"], record["interactions_seen"]) == ("ann", 9)


def rejected(line: dict, expected: Expected = ITEM) -> str:
    with pytest.raises(RejectedAnswer) as raised:
        read_batch_line(line, expected)
    return raised.value.reason


def test_failures_of_the_service():
    error = {"custom_id": "item/1", "response": None, "error": {"code": "batch_expired"}}
    assert rejected(error) == "failed_request"
    line = batch_line("item/1", "x")
    line["response"]["status_code"] = 500
    assert rejected(line) == "failed_request"
    line["response"]["body"] = {"error": {"message": "too long"}}
    assert rejected(line) == "failed_request"
    assert rejected({"custom_id": "item/1", "response": None}) == "failed_request"


def test_lines_about_something_else():
    assert rejected(batch_line("user/1", "x")) == "source_mismatch"
    assert rejected(batch_line("item/1", "x"), Expected("item", "collective")) == (
        "extraction_mismatch"
    )
    assert rejected(batch_line("318", "x")) == "invalid_custom_id"
    assert rejected({**batch_line("item/1", "x"), "custom_id": 3}) == "wrong_type"
    assert rejected(batch_line("item/1", None)) == "blank_answer"


def test_recognition():
    assert is_batch_line({"custom_id": "item/1", "response": None, "error": {}})
    assert not is_batch_line(record("1", "x", custom_id="item/1"))
    assert not is_batch_line(completion("x"))
