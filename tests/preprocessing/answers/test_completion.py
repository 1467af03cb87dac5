from __future__ import annotations

import json

import pytest

from preprocessing.answers.completion import (
    ChatResponse,
    Usage,
    completion_of,
    completion_of_batch_line,
    counted_usage,
    response_of,
)
from preprocessing.answers.formats import Expected, read_batch_line, read_chat_line
from preprocessing.answers.record import RejectedAnswer


def choice(content: object, finish_reason: object = "stop", **message: object) -> dict:
    return {
        "choices": [{"message": {"content": content, **message}, "finish_reason": finish_reason}]
    }


def test_a_completion_is_read():
    completion = choice("Noir.") | {
        "model": "m-2",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    assert response_of(completion, 99) == ChatResponse("Noir.", "stop", "m-2", Usage(3, 2))
    completion["choices"].append({"message": {"content": "two"}, "finish_reason": "length"})
    read = completion_of(completion)
    assert (read.text, read.finish_reason, read.model) == ("Noir.", "stop", "m-2")
    assert read.usage == completion["usage"]


def test_tokens_that_nobody_counted_are_estimated():
    assert response_of(choice("12345678"), 11).usage == Usage(11, 2, estimated=True)


PARTS = [{"type": "text", "text": "A film "}, {"type": "image"}, 7, {"text": "noir."}, {"text": 1}]
ANSWERS = [
    ({"choices": []}, "", None),
    ({"choices": [], "error": None}, "", None),
    (choice(None), "", "stop"),
    (choice([]), "", "stop"),
    (choice(PARTS), "A film noir.", "stop"),
    (choice("cut", "length"), "cut", "length"),
    (choice("text", 7), "text", None),
    (choice("text", ""), "text", None),
    (choice("text", "\ud800"), "text", "\\ud800"),
    (choice("text", "x" * 999), "text", "x" * 256),
    (choice(None, refusal="I cannot"), "I cannot", "refusal"),
    (choice("No.", refusal="I cannot"), "No.", "refusal"),
    (choice([{"type": "refusal", "refusal": "I cannot"}]), "I cannot", "refusal"),
    (choice("text", refusal=True), "text", "stop"),
    (choice("text", refusal=" "), "text", "stop"),
    (choice("text") | {"model": 3, "usage": [1], "error": {}}, "text", "stop"),
    (choice("text") | {"model": "\ud800"}, "text", "stop"),
]
FAILURES = [
    ({"error": {"message": "rate limit", "code": "429"}}, "failed_request"),
    ({"error": {"message": "rate limit"}, "choices": []}, "failed_request"),
    ({"error": "broken", **choice("text")}, "failed_request"),
    ({}, "missing_field"),
    ({"choices": "x"}, "missing_field"),
    ({"choices": {}}, "missing_field"),
    ({"choices": [None]}, "missing_field"),
    ({"choices": [{"message": None}]}, "missing_field"),
    (choice(3), "wrong_type"),
    (choice({"text": "x"}), "wrong_type"),
    (None, "wrong_type"),
    ([choice("x")], "wrong_type"),
]


@pytest.mark.parametrize(("document", "text", "finish_reason"), ANSWERS)
def test_an_odd_completion_is_read_alike_by_generate_and_import(document, text, finish_reason):
    response = response_of(document, 1)
    assert (response.text, response.finish_reason) == (text, finish_reason)
    json.dumps([response.finish_reason, response.answered_by], ensure_ascii=False).encode()
    line = {"custom_id": "item/1", "response": {"status_code": 200, "body": document}}
    assert completion_of_batch_line(line) == completion_of(document)
    for read, imported in ((read_batch_line, line), (read_chat_line, {**document, "prompt": "1"})):
        if text:
            record = read(imported, Expected("item"))
            assert (record.text, record.finish_reason) == (text, finish_reason)
            assert record.model == response.answered_by
        else:
            with pytest.raises(RejectedAnswer, match="blank_answer"):
                read(imported, Expected("item"))


@pytest.mark.parametrize(("document", "reason"), FAILURES)
def test_what_is_no_completion_is_none_for_generate_and_import(document, reason):
    with pytest.raises(RejectedAnswer) as raised:
        response_of(document, 1)
    assert raised.value.reason == reason
    line = {"custom_id": "item/1", "response": {"status_code": 200, "body": document}}
    with pytest.raises(RejectedAnswer) as raised:
        read_batch_line(line, Expected("item"))
    assert raised.value.reason == ("missing_field" if document is None else reason)
    if isinstance(document, dict):
        with pytest.raises(RejectedAnswer) as raised:
            read_chat_line({**document, "prompt": "1"}, Expected("item"))
        assert raised.value.reason == reason


def test_half_a_surrogate_pair_is_stored_escaped_and_never_imported():
    response = response_of(choice("a \ud83d"), 1)
    assert (response.text, response.finish_reason) == ("a \\ud83d", "invalid_text")
    assert response_of(choice(None, refusal="no \ud83d"), 1).finish_reason == "refusal"
    with pytest.raises(RejectedAnswer, match="invalid_text"):
        read_chat_line(choice("a \ud83d") | {"prompt": "1"}, Expected("item"))


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ({"error": {"message": "expired"}, "response": None}, "the service reports: expired"),
        ({"error": None, "response": None}, "neither a response nor an error"),
        ({"response": {"status_code": 429, "body": {"error": "slow down"}}}, "429: slow down"),
        ({"response": {"status_code": 500, "body": None}}, "status 500"),
        ({"response": {"status_code": 200, "body": {"error": "late"}}}, "reports: late"),
    ],
)
def test_failed_requests_of_a_batch(line, detail):
    with pytest.raises(RejectedAnswer, match="failed_request") as raised:
        completion_of_batch_line(line)
    assert detail in raised.value.detail


@pytest.mark.parametrize("count", [-1, 1.5, True, "3", None, 1 << 70, float("inf")])
def test_only_sound_counts_count(count):
    assert counted_usage({"prompt_tokens": count, "completion_tokens": 1}) is None
