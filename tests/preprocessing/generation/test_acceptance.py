from __future__ import annotations

import pytest

from preprocessing.answers.completion import Usage
from preprocessing.generation.answer_store import Acceptance, StoredAnswer
from preprocessing.generation.chat import AnswerSchema

SCHEMA = AnswerSchema({}, ("genre",), frozenset({"genre"}), closed=False)


def answer(text: str, finish_reason: str | None = "stop", calls: int = 1) -> StoredAnswer:
    return StoredAnswer(text, finish_reason, None, Usage(1, 1), calls)


@pytest.mark.parametrize(
    ("stored", "schema", "reason", "asked_again"),
    [
        (answer("Noir."), None, None, False),
        (answer("Noir.", None), None, None, False),
        (answer('{"genre": "noir"}'), SCHEMA, None, False),
        (answer(" \n"), None, "blank_answer", True),
        (answer("Noir."), SCHEMA, "schema_mismatch", True),
        (answer("x", "invalid_text"), None, "invalid_text", True),
        (answer("Noi", "length"), None, "truncated", False),
        (answer("", "length"), None, "truncated", False),
        (answer("No", "refusal"), None, "refusal", False),
        (answer("N", "content_filter"), None, "content_filter", False),
    ],
)
def test_bad_answers_have_a_reason_and_perhaps_another_call(stored, schema, reason, asked_again):
    acceptance = Acceptance(schema, keep_truncated=False, attempts_per_answer=2)
    rejection = acceptance.rejection(stored)
    assert (rejection.reason if rejection else None) == reason
    assert acceptance.needs_call(stored) is asked_again


def test_truncated_answers_may_be_kept_unless_they_are_empty():
    acceptance = Acceptance(None, keep_truncated=True, attempts_per_answer=1)
    assert acceptance.rejection(answer("Noi", "length")) is None
    assert acceptance.rejection(answer("", "length")).reason == "blank_answer"


def test_attempts_run_out():
    acceptance = Acceptance(None, keep_truncated=False, attempts_per_answer=2)
    assert acceptance.needs_call(None)
    assert not acceptance.needs_call(answer("", calls=2))
