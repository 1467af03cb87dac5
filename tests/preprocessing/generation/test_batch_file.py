from __future__ import annotations

import json

import pytest

from preprocessing.generation.answer_store import AnswerStore
from preprocessing.generation.batch_file import BatchFileClient, BatchResultClient
from preprocessing.generation.chat import AnswerSchema, ChatRequest
from preprocessing.generation.client import Budget
from preprocessing.prompting.token_costs import Prices
from tests.preprocessing.answers.small_files import read_lines
from tests.preprocessing.generation.chat_server import completion


@pytest.fixture
def write(tmp_path, parameters):
    def answer(texts, requests_per_file=3, tokens=None):
        budget = Budget(tokens, None, Prices(None, None))
        client = BatchFileClient(tmp_path / "batch", parameters, requests_per_file, budget)
        with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
            return client.answer((ChatRequest(text, text) for text in texts), store)

    return answer


def test_files_are_full_numbered_on_and_complete(write, tmp_path, parameters):
    first = write("abcdefg")
    second = write("hi")
    files = sorted((tmp_path / "batch").iterdir())
    assert [path.name for path in files] == [f"requests-{n:05d}.jsonl" for n in range(4)]
    assert [len(read_lines(path)) for path in files] == [3, 3, 1, 2]
    assert first.details["batch_files"] + second.details["batch_files"] == [*map(str, files)]
    request = read_lines(files[0])[0]
    assert request["body"] == parameters.body("a")
    assert len(request["custom_id"]) == 64
    with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
        assert store.waiting(list("abcdefghij")) == set("abcdefghi")
        assert store.batch_request(request["custom_id"]).prompt_sha256 == "a"


def test_a_request_has_the_schema_of_its_prompt(tmp_path, parameters):
    schema = AnswerSchema({"type": "object"}, ("links",), frozenset(), False)
    budget = Budget(None, None, Prices(None, None))
    client = BatchFileClient(tmp_path / "batch", parameters, 3, budget)
    with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
        client.answer(iter([ChatRequest("a", "a", schema), ChatRequest("b", "b")]), store)
    (file,) = (tmp_path / "batch").iterdir()
    first, second = (line["body"] for line in read_lines(file))
    assert first["response_format"] == schema.response_format()
    assert second == parameters.body("b")


def test_nothing_pending_writes_nothing(write, tmp_path):
    assert write("").details == {"batch_files": [], "batch_requests": 0}
    assert list((tmp_path / "batch").iterdir()) == []


def test_the_budget_limits_what_is_written(write):
    # 1 + 4 prompt tokens and 20 answer tokens each
    report = write("abcdefg", tokens=99)
    assert report.stopped == "budget" and report.details["batch_requests"] == 3


def test_a_file_stays_below_its_size(write, tmp_path, monkeypatch):
    monkeypatch.setattr("preprocessing.generation.batch_file._MOST_BYTES_PER_FILE", 500)
    write(["x" * 100] + ["y" * 100, "z" * 1000, "w"], requests_per_file=50)
    files = sorted((tmp_path / "batch").iterdir())
    contents = [
        [line["body"]["messages"][0]["content"][0] for line in read_lines(f)] for f in files
    ]
    assert contents == [["x"], ["y"], ["z"], ["w"]]


def test_a_run_killed_at_any_moment_loses_and_repeats_no_request(write, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    for function in ("os.fsync", "os.replace"):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(f"preprocessing.generation.batch_file.{function}", kill)
            write("abcde")
    # Killed before the first file was noted, then after it: three requests are noted, two are not.
    report = write("de")
    files = sorted((tmp_path / "batch").iterdir())
    assert report.details["batch_files"] == [str(path) for path in files]
    sent = [line["body"]["messages"][0]["content"] for path in files for line in read_lines(path)]
    assert sent == list("abcde")


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
