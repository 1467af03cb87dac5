from __future__ import annotations

import pytest

from preprocessing.generation.answer_store import AnswerStore
from preprocessing.generation.batch_file import BatchFileClient
from preprocessing.generation.chat import ChatRequest
from preprocessing.generation.client import Budget
from preprocessing.prompting.token_costs import Prices
from tests.preprocessing.generation.files import read_lines


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
