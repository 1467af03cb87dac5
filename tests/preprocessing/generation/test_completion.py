from __future__ import annotations

import pytest

from preprocessing.generation.chat import ChatResponse, Usage
from preprocessing.generation.completion import MalformedCompletion, counted_usage, response_of


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


def test_tokens_that_nobody_counted_are_estimated():
    assert response_of(choice("12345678"), 11).usage == Usage(11, 2, estimated=True)


@pytest.mark.parametrize(
    ("completion", "text", "finish_reason"),
    [
        ({"choices": []}, "", None),
        (choice(None), "", "stop"),
        (choice("cut", "length"), "cut", "length"),
        (choice("text", 7), "text", None),
        (choice(None, refusal="I cannot"), "I cannot", "refusal"),
        (choice("\ud83d"), "\\ud83d", "invalid_text"),
    ],
)
def test_unusual_completions(completion, text, finish_reason):
    response = response_of(completion, 1)
    assert (response.text, response.finish_reason) == (text, finish_reason)
    response.text.encode()


@pytest.mark.parametrize(
    "completion",
    [None, [], {}, {"choices": {}}, {"choices": [1]}, {"choices": [{}]}, choice(["part"])],
)
def test_other_objects_are_malformed(completion):
    with pytest.raises(MalformedCompletion):
        response_of(completion, 1)


@pytest.mark.parametrize("count", [-1, 1.5, True, "3", None, 1 << 70])
def test_only_sound_counts_count(count):
    assert counted_usage({"prompt_tokens": count, "completion_tokens": 1}) is None
