from __future__ import annotations

import json

import pytest

from preprocessing.answers.completion import Usage
from preprocessing.answers.record import prompt_sha256
from preprocessing.generation.answer_store import Acceptance, AnswerStore
from preprocessing.generation.chat import AnswerSchema, ChatRequest
from preprocessing.generation.client import Budget
from preprocessing.generation.file_clients import (
    ANY_MODEL,
    BatchFileClient,
    BatchResultClient,
    ReplayClient,
)
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
    monkeypatch.setattr("preprocessing.generation.file_clients._MOST_BYTES_PER_FILE", 500)
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
            patch.setattr(f"preprocessing.generation.file_clients.{function}", kill)
            write("abcde")
    # Killed before the first file was noted, then after it: three requests are noted, two are not.
    report = write("de")
    files = sorted((tmp_path / "batch").iterdir())
    assert report.details["batch_files"] == [str(path) for path in files]
    sent = [line["body"]["messages"][0]["content"] for path in files for line in read_lines(path)]
    assert sent == list("abcde")


LINKS = AnswerSchema({}, ("links",), frozenset(["links"]), False, lists=frozenset(["links"]))


@pytest.fixture
def store(tmp_path, parameters):
    with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
        store.add_batch_requests("file", [(name, 9) for name in "abcd"])
        yield store


def read(tmp_path, store, *lines: object):
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    budget, acceptance = Budget(None, None, Prices(1.0, 1.0)), Acceptance(None, False, 2)
    client = BatchResultClient([str(path)], budget, acceptance, lambda: {"c": LINKS})
    return client.answer(iter(()), store)


def line(
    store, name: str, file: str = "file", text: str | None = None, finish: str = "stop", **more
) -> dict:
    body = json.loads(completion(text or f"About {name}", finish_reason=finish).body)
    return {
        "id": "x",
        "custom_id": store.request_key(name, file),
        "response": {"status_code": 200, "body": body},
        "error": None,
        **more,
    }


def test_good_results_are_stored_and_paid(tmp_path, store):
    report = read(tmp_path, store, line(store, "a"), line(store, "b"), line(store, "a"))
    assert report.details["batch_results"] == {
        "read": 3, "stored": 2, "failed": 0, "already_read": 1, "not_needed": 0, "rejected": 0,
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


def test_a_result_belongs_to_the_request_of_its_own_file(tmp_path, store):
    first = line(store, "a", error={"code": "x", "message": "expired"}, response=None)
    read(tmp_path, store, first)
    store.add_batch_requests("later", [("a", 9)])
    report = read(tmp_path, store, first, line(store, "a", "later"))
    assert report.details["batch_results"] == {
        "read": 2, "stored": 1, "failed": 0, "already_read": 1, "not_needed": 0, "rejected": 0,
    }  # fmt: skip
    assert store.waiting(["a"]) == set() and store.answers(["a"])["a"].text == "About a"
    assert report.failures == {}


def test_a_result_that_was_given_up_replaces_no_other_answer(tmp_path, store):
    store.forget_batches()
    store.add_batch_requests("later", [("a", 9), ("b", 9)])
    good, blank = line(store, "a", "later"), line(store, "b", "later")
    blank["response"] = {"status_code": 200, "body": json.loads(completion(" ").body)}
    read(tmp_path, store, good, blank)
    late = [line(store, name) for name in "ab"]
    for each in late:
        each["response"] = {"status_code": 200, "body": json.loads(completion("Late.").body)}
    report = read(tmp_path, store, *late, *late)
    assert report.details["batch_results"] == {
        "read": 4, "stored": 1, "failed": 0, "already_read": 2, "not_needed": 1, "rejected": 0,
    }  # fmt: skip
    assert report.calls == 2 and report.completion_tokens > 0
    texts = {sha: answer.text for sha, answer in store.answers(["a", "b"]).items()}
    assert texts == {"a": "About a", "b": "Late."}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("a", ("About a", "stop"), (" ", "stop")),
        ("b", ("About b", "stop"), ("Abou", "length")),
        ("c", ('{"links": ["Jaws (1975)"]}', "stop"), ("The best is Jaws.", "stop")),
    ],
)
@pytest.mark.parametrize("given_up_first", [True, False])
@pytest.mark.parametrize("good_first", [True, False])
def test_an_answer_that_counts_is_kept_whichever_result_comes_first(
    tmp_path, store, name, good, bad, given_up_first, good_first
):
    store.forget_batches()
    store.add_batch_requests("later", [(name, 9)])
    files = ["file", "later"] if given_up_first else ["later", "file"]
    answers = [good, bad] if good_first else [bad, good]
    reports = [
        read(tmp_path, store, line(store, name, file, *answer))
        for file, answer in zip(files, answers, strict=True)
    ]
    assert store.answers([name])[name].text == good[0]
    stored = [report.details["batch_results"]["stored"] for report in reports]
    assert stored == ([1, 0] if good_first else [1, 1])


def test_a_result_that_was_given_up_is_taken_when_it_comes(tmp_path, store):
    assert store.forget_batches() == 4 and store.waiting(list("abcd")) == set()
    store.add_batch_requests("later", [("a", 9)])
    report = read(tmp_path, store, line(store, "a"), line(store, "a"), line(store, "b"))
    assert report.details["batch_results"]["stored"] == 2
    assert report.details["batch_results"]["already_read"] == 1
    assert store.answers(["a", "b"]).keys() == {"a", "b"} and store.waiting(["a"]) == {"a"}


def test_foreign_lines_are_dead_letters(tmp_path, store):
    report = read(tmp_path, store, line(store, "zz"), [1], {"id": "x"}, {"custom_id": 3})
    assert [letter["reason"] for letter in report.dead_letters] == [
        "unknown_request", "not_an_object", "missing_field", "wrong_type",
    ]  # fmt: skip
    assert report.details["batch_results"]["rejected"] == 4


def record(prompt: str, answer: str, **more: object) -> dict:
    return {"source": "item", "entity_id": "1", "extraction": "individual", "model": "m",
            "prompt": prompt, "answer": answer, **more}  # fmt: skip


@pytest.fixture
def replay(tmp_path, parameters):
    def answer(records, prompts, model=ANY_MODEL, structured=False):
        path = tmp_path / "answers.jsonl"
        path.write_text("\n".join(json.dumps(line) for line in records))
        requests = [ChatRequest(prompt, prompt_sha256(prompt)) for prompt in prompts]
        with AnswerStore(tmp_path / "store.sqlite", parameters) as store:
            report = ReplayClient((str(path),), model, structured).answer(iter(requests), store)
            collected = store.answers([prompt_sha256(prompt) for prompt in prompts])
        return report, {prompt: collected.get(prompt_sha256(prompt)) for prompt in prompts}

    return answer


def test_the_first_answer_to_a_prompt_counts_and_costs_nothing(replay):
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "estimated": True}
    records = [
        record("Jaws?", "A shark.", usage=usage),
        record("Jaws?", "A second shark."),
        record("Heat?", "A heist."),
        {"source": "item"},
    ]
    report, actual = replay(records, ["Jaws?", "Alien?"])
    assert actual["Alien?"] is None and actual["Jaws?"].text == "A shark."
    assert actual["Jaws?"].usage == Usage(4, 2, estimated=True) and actual["Jaws?"].calls == 0
    assert report.calls == report.prompt_tokens == 0
    assert report.details == {"replay": {"read": 4, "taken": 1, "not_needed": 2, "rejected": 1}}
    assert [letter["reason"] for letter in report.dead_letters] == ["missing_field"]


def test_answers_of_one_model_alone(replay):
    records = [record("Jaws?", "other", model="n"), record("Jaws?", "mine")]
    _, actual = replay(records, ["Jaws?"], model="m")
    assert actual["Jaws?"].text == "mine"


def test_a_hash_stands_for_its_prompt(replay):
    line = record("", "A shark.", prompt_sha256=prompt_sha256("Jaws?").upper())
    del line["prompt"]
    _, actual = replay([line], ["Jaws?"])
    assert actual["Jaws?"].usage == Usage(2, 2, estimated=True)


@pytest.mark.parametrize("structured", [True, False])
def test_structured_and_truncated_answers_come_back_as_they_were(replay, structured):
    """As JSON, which is what the LLM wrote, or as the text that stands for it."""
    records = [
        record("Jaws?", "genre: horror", factors={"genre": "horror"}),
        record("Heat?", "A hei", finish_reason="length"),
    ]
    _, actual = replay(records, ["Jaws?", "Heat?"], structured=structured)
    assert actual["Jaws?"].text == ('{"genre": "horror"}' if structured else "genre: horror")
    assert actual["Heat?"].finish_reason == "length"


@pytest.mark.parametrize(
    "odd",
    [{"finish_reason": "\ud800"}, {"finish_reason": 3}, {"factors": {"genre": "\ud800"}}],
)
def test_one_odd_record_never_ends_a_replay(replay, odd):
    records = [record("Jaws?", "x", **odd), record("Jaws?", "A shark.")]
    report, actual = replay(records, ["Jaws?"], structured=True)
    assert actual["Jaws?"].text == "A shark." and len(report.dead_letters) == 1
