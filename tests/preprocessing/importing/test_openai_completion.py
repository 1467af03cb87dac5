from __future__ import annotations

import pytest

from preprocessing.importing.openai_completion import completion_of
from preprocessing.knowledge.answers import RejectedAnswer
from tests.preprocessing.importing.small_files import completion


def test_the_first_choice_counts():
    body = completion("one")
    body["choices"].append({"message": {"content": "two"}, "finish_reason": "length"})
    read = completion_of(body)
    assert (read.text, read.finish_reason, read.model) == ("one", "stop", "served-model")
    assert read.usage == body["usage"]


def test_content_may_be_missing_or_in_parts():
    assert completion_of(completion(None)).text == ""
    body = completion(None)
    body["choices"][0]["message"]["content"] = [
        {"type": "text", "text": "A film "},
        {"type": "image"},
        {"type": "text", "text": "noir."},
    ]
    assert completion_of(body).text == "A film noir."


def test_a_refusal_field_is_the_answer_of_a_model_that_refuses():
    body = completion(None)
    body["choices"][0]["message"]["refusal"] = "I can't help with that."
    read = completion_of(body)
    assert (read.text, read.finish_reason) == ("I can't help with that.", "refusal")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": {"message": "rate limit", "code": "429"}}, "failed_request"),
        ({"error": "broken"}, "failed_request"),
        ({}, "missing_field"),
        ({"choices": []}, "missing_field"),
        ({"choices": "x"}, "missing_field"),
        ({"choices": [None]}, "missing_field"),
        ({"choices": [{"message": None}]}, "missing_field"),
        ({"choices": [{"message": {"content": 3}}]}, "wrong_type"),
    ],
)
def test_what_is_no_answer(body, reason):
    with pytest.raises(RejectedAnswer) as raised:
        completion_of(body)
    assert raised.value.reason == reason


def test_the_services_message_is_told():
    with pytest.raises(RejectedAnswer, match="rate limit"):
        completion_of({"error": {"message": "rate limit"}})
