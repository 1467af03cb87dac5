from __future__ import annotations

import gzip
import json

import pytest

from tests.preprocessing.generation.chat_server import completion
from tests.preprocessing.generation.files import read_lines
from tests.preprocessing.generation.generate_command import fast_retries, generate

pytestmark = pytest.mark.usefixtures("key_in_the_environment")


def test_batch_files_there_and_back(capsys, prompt_file, tmp_path):
    texts = [f"film {number}" for number in range(5)]
    prompts, out = prompt_file([*texts, "film 0"]), tmp_path / "out"
    options = ["--client", "batch-file", "--model", "toy"]
    small_files = fast_retries(tmp_path / "c.yaml", requests_per_batch_file=2)
    code, summary, said = generate(capsys, prompts, out, *options, *small_files)
    assert code == 0 and summary["not_attempted"] == 6 and summary["batch_requests"] == 5
    assert summary["waiting_for_batch"] == 6 and "still wait" not in said
    files = sorted((out / "batch").iterdir())
    assert [len(read_lines(path)) for path in files] == [2, 2, 1]
    requests = [line for path in files for line in read_lines(path)]
    assert [request["body"]["messages"][0]["content"] for request in requests] == texts
    assert {(request["method"], request["url"]) for request in requests} == {
        ("POST", "/v1/chat/completions")
    }
    assert all("item" not in request["custom_id"] for request in requests)

    # What waits for its result is asked by no client.
    code, summary, _ = generate(capsys, prompts, out, *options, *small_files)
    assert summary["batch_requests"] == 0 and sorted((out / "batch").iterdir()) == files

    def result(request: dict, body: object, status: int = 200) -> str:
        response = {"status_code": status, "request_id": "r", "body": body}
        return json.dumps({"id": "b", "custom_id": request["custom_id"], "response": response,
                           "error": None})  # fmt: skip

    bodies = [json.loads(completion(f"About {text}").body) for text in texts]
    expired = {"code": "batch_expired", "message": "This request could not be executed"}
    lines = [
        result(requests[1], bodies[1]),
        result(requests[0], bodies[0]),
        result(requests[2], {"error": {"message": "overloaded"}}, status=500),
        json.dumps({"custom_id": requests[3]["custom_id"], "response": None, "error": expired}),
        result({"custom_id": "item/318"}, bodies[0]),
        "{",
    ]
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(lines))
    reading = [*options, "--read-batch", str(results)]
    code, summary, said = generate(capsys, prompts, out, *reading)
    assert (summary["answered"], summary["rejected"], summary["not_attempted"]) == (3, 2, 1)
    assert summary["waiting_for_batch"] == 1
    assert "1 prompts still wait for a batch result" in said and "--forget-batches" in said
    assert "have no answer" not in said
    assert summary["rejected_by_reason"] == {"failed_request": 2}
    assert summary["batch_results"] == {
        "read": 6, "stored": 2, "failed": 2, "already_read": 0, "rejected": 2,
    }  # fmt: skip
    letters = [
        (letter["line"], letter["reason"])
        for letter in read_lines(out / "dead_letters.jsonl")
        if letter["file"] == str(results)
    ]
    assert letters == [(5, "unknown_request"), (6, "malformed_json")]
    assert [record["answer"] for record in read_lines(out / "answers.jsonl")] == [
        "About film 0", "About film 1", "About film 0",
    ]  # fmt: skip

    code, summary, said = generate(capsys, prompts, out, *reading)
    assert summary["batch_results"]["already_read"] == 4 and summary["tokens"]["total"] == 0
    assert (summary["not_attempted"], summary["waiting_for_batch"]) == (3, 1)
    assert "2 prompts wait for no batch result and have no answer" in said

    # Failed requests are written again, the waiting one only when its batch is forgotten.
    code, summary, _ = generate(capsys, prompts, out, *options)
    assert summary["batch_requests"] == 2
    code, summary, _ = generate(capsys, prompts, out, *options, "--forget-batches")
    assert summary["batch_requests"] == 3
    assert len(sorted((out / "batch").iterdir())) == 5


def test_replay_takes_answers_by_prompt_hash(capsys, prompt_file, repository_root, tmp_path):
    bundled = repository_root / "examples/movielens_small/answers/item_individual.jsonl.gz"
    with gzip.open(bundled, "rt", encoding="utf-8") as file:
        known = [json.loads(next(file)) for _ in range(20)]
    prompts = prompt_file([record["prompt"] for record in known] + ["nobody asked this"])
    replaying = ["--client", "replay", "--replay", str(bundled)]
    code, summary, _ = generate(capsys, prompts, tmp_path / "out", *replaying)
    assert code == 0 and (summary["answered"], summary["not_attempted"]) == (20, 1)
    assert summary["calls"] == 0 and summary["replay"]["taken"] == 20
    replayed = read_lines(tmp_path / "out" / "answers.jsonl")
    assert [record["answer"] for record in replayed] == [record["answer"] for record in known]
    assert {record["model"] for record in replayed} == {"claude"}

    code, summary, _ = generate(capsys, prompts, tmp_path / "o2", *replaying, "--model", "gpt")
    assert code == 0 and summary["answered"] == 0
