from __future__ import annotations

import json

import pytest

from preprocessing.generation.answer_store import AnswerStore
from preprocessing.generation.batch_file import BatchResultClient
from preprocessing.generation.client import Budget
from preprocessing.prompting.token_costs import Prices
from tests.preprocessing.generation.chat_server import completion


@pytest.fixture
def store(tmp_path, parameters):
    with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
        store.add_batch_requests("file", [(name, 9) for name in "abcd"])
        yield store


def read(tmp_path, store, *lines: object):
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    client = BatchResultClient([str(path)], Budget(None, None, Prices(1.0, 1.0)))
    return client.answer(iter(()), store)


def line(store, name: str, **more: object) -> dict:
    body = json.loads(completion(f"About {name}").body)
    return {
        "id": "x",
        "custom_id": store.request_key(name),
        "response": {"status_code": 200, "body": body},
        "error": None,
        **more,
    }


def test_good_results_are_stored_and_paid(tmp_path, store):
    report = read(tmp_path, store, line(store, "a"), line(store, "b"), line(store, "a"))
    assert report.details["batch_results"] == {
        "read": 3, "stored": 2, "failed": 0, "already_read": 1, "rejected": 0,
    }  # fmt: skip
    assert (report.calls, report.prompt_tokens, report.completion_tokens) == (2, 14, 10)
    assert report.cost_usd == pytest.approx(24e-6)
    assert {sha: answer.text for sha, answer in store.answers(list("abcd")).items()} == {
        "a": "About a",
        "b": "About b",
    }
    assert store.waiting(list("abcd")) == {"c", "d"}


def test_failed_results_free_their_requests(tmp_path, store):
    report = read(
        tmp_path,
        store,
        line(store, "a", error={"code": "x", "message": "expired"}, response=None),
        line(store, "b", response={"status_code": 429, "body": {"error": "slow down"}}),
        line(store, "c", response={"status_code": 200, "body": {"choices": None}}),
        line(store, "d", response=None),
    )
    assert {sha: failure.reason for sha, failure in report.failures.items()} == {
        "a": "failed_request", "b": "failed_request",
        "c": "malformed_response", "d": "failed_request",
    }  # fmt: skip
    assert store.waiting(list("abcd")) == set() and report.calls == 0


def test_foreign_lines_are_dead_letters(tmp_path, store):
    report = read(tmp_path, store, line(store, "zz"), [1], {"id": "x"}, {"custom_id": 3})
    assert [letter["reason"] for letter in report.dead_letters] == [
        "unknown_request", "not_an_object", "missing_field", "wrong_type",
    ]  # fmt: skip
    assert report.details["batch_results"]["rejected"] == 4
