from __future__ import annotations

import dataclasses
import sqlite3

import pytest

from configs.command_line import CommandError
from preprocessing.answers.completion import ChatResponse, Usage
from preprocessing.generation.answer_store import Acceptance, AnswerStore, StoredAnswer
from preprocessing.generation.chat import AnswerSchema


def response(text: str) -> ChatResponse:
    return ChatResponse(text, "stop", "m-2", Usage(3, 2, estimated=True))


def test_answers_come_back_after_reopening(tmp_path, parameters):
    path = tmp_path / "deep" / "store.sqlite"
    with AnswerStore(path, parameters) as store:
        store.save([("a", response("Noir é\0.")), ("b", response("two"))])
        store.save([("b", response("newer"))])
    for read_only in (False, True):
        with AnswerStore(path, parameters, read_only) as store:
            assert store.answers(["a", "b", "c"]) == {
                "a": StoredAnswer("Noir é\0.", "stop", "m-2", Usage(3, 2, True), calls=1),
                "b": StoredAnswer("newer", "stop", "m-2", Usage(3, 2, True), calls=2),
            }


def test_the_database_keeps_a_log_and_one_row_per_prompt(tmp_path, parameters):
    path = tmp_path / "store.sqlite"
    with AnswerStore(path, parameters) as store:
        for _ in range(3):
            store.save([("a", response("Noir."))])
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("SELECT model, prompt_sha256, calls FROM answers").fetchall() == [
        ("toy", "a", 3)
    ]
    database.close()


def test_other_parameters_see_nothing(tmp_path, parameters):
    path = tmp_path / "store.sqlite"
    with AnswerStore(path, parameters) as store:
        store.save([("a", response("Noir."))])
        store.add_batch_requests("f", [("b", 5)])
        key = store.request_key("b", "f")
    for other in ({"model": "other"}, {"max_tokens": 21}):
        with AnswerStore(path, dataclasses.replace(parameters, **other)) as store:
            assert store.answers(["a"]) == {} and store.waiting(["b"]) == set()
            assert store.batch_request(key) is None and store.request_key("b", "f") != key


def test_batch_requests_wait_until_read_or_forgotten(tmp_path, parameters):
    with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
        store.add_batch_requests("f", [("a", 5), ("b", 6), ("c", 7)])
        assert store.waiting(["a", "b", "c", "d"]) == {"a", "b", "c"}
        key = store.request_key("a", "f")
        assert len(key) == 64
        request = store.batch_request(key)
        assert (request.prompt_sha256, request.prompt_tokens_estimate) == ("a", 5)
        with store.transaction():
            store.save_batch_result(key, request, response("Noir."))
        assert store.waiting(["a"]) == set() and store.answers(["a"])["a"].calls == 1
        assert store.batch_request(key).is_read
        assert store.forget_batches() == 2 and store.waiting(["b", "c"]) == set()
        assert store.batch_files() == {"f"}


def test_a_failing_transaction_changes_nothing(tmp_path, parameters):
    with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
        store.add_batch_requests("f", [("a", 5)])
        key = store.request_key("a", "f")
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.save_batch_result(key, store.batch_request(key), response("Noir."))
            raise ZeroDivisionError
        assert store.answers(["a"]) == {} and store.waiting(["a"]) == {"a"}


def test_a_store_in_use_or_of_another_kind_is_refused(tmp_path, parameters):
    path = tmp_path / "store.sqlite"
    AnswerStore(path, parameters).__exit__()
    with AnswerStore(path, parameters):
        for read_only in (False, True):
            with pytest.raises(CommandError, match="another run uses this answer store"):
                AnswerStore(path, parameters, read_only).answers(["a"])
    path.write_text("no database, but long enough to be looked at " * 50)
    with pytest.raises(CommandError, match=r"store\.sqlite: .*not a database"):
        AnswerStore(path, parameters)


def test_looking_into_a_missing_store_creates_nothing(tmp_path, parameters):
    path = tmp_path / "store.sqlite"
    with AnswerStore(path, parameters, read_only=True) as store:
        assert store.answers(["a"]) == {}
    assert not path.exists()


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
