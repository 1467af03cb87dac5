from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preprocessing.__main__ import main
from tests.preprocessing.generation.chat_server import (
    Call,
    ChatServer,
    Reply,
    chat_server,
    completion,
    echo,
    failure,
)
from tests.preprocessing.generation.files import read_lines

KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def key_in_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def generate(capsys, prompts: str, out: Path, *options: str) -> tuple[int, dict, str]:
    code = main(["generate", "--prompts", prompts, "--out", str(out), "--json", *options])
    captured = capsys.readouterr()
    summary = json.loads(captured.out) if captured.out else {}
    if summary and not summary.get("dry_run"):
        assert summary == json.loads((out / "summary.json").read_text())
        assert summary["read"] == sum(
            summary[name] for name in ("answered", "rejected", "not_attempted")
        )
        assert summary["answered"] == len(read_lines(out / "answers.jsonl"))
        assert summary["rejected"] == sum(summary["rejected_by_reason"].values())
    return code, summary, captured.err


def endpoint(server: ChatServer, *more: str) -> list[str]:
    return ["--base-url", server.url, "--model", "toy", *more]


def fast_retries(config: Path, **generation: object) -> list[str]:
    """Options that name a scenario with short delays."""
    tree = {
        "name": "small",
        "work_dir": "work",
        "data": {"interactions": {"path": "i.csv"}, "catalogue": {"path": "c.csv"}},
        "knowledge": {"answers": {"item": {"entity": "item", "individual": ["a.jsonl"]}},
                      "sources": ["item"]},
        "generation": {"retry_delay_seconds": 0.01, "retries": 3, **generation},
    }  # fmt: skip
    config.write_text(json.dumps(tree))  # JSON is YAML
    return ["--config", str(config)]


def reasons(out: Path) -> dict[int, str]:
    return {letter["line"]: letter["reason"] for letter in read_lines(out / "dead_letters.jsonl")}


def test_every_prompt_is_answered_once_and_in_order(capsys, prompt_file, tmp_path):
    texts = ["Alien", "Brazil", "Alien", "Casablanca"]
    prompts = prompt_file(texts)
    with chat_server(echo) as server:
        options = endpoint(
            server, "--price-input", "1", "--price-output", "2", "--concurrency", "2"
        )
        code, summary, err = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 0
        assert summary["answered"] == 4 and summary["calls"] == summary["distinct_prompts"] == 3
        assert summary["tokens"] == {
            "prompt": 21,
            "completion": 15,
            "total": 36,
            "calls_with_estimated_tokens": 0,
        }
        assert summary["cost_usd"] == pytest.approx((21 * 1 + 15 * 2) / 1e6)
        assert "36 tokens" in err and server.most_at_once <= 2
        assert {call.authorization for call in server.seen} == {f"Bearer {KEY}"}
        first = (tmp_path / "out" / "answers.jsonl").read_bytes()

        code, again, _ = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 0 and again["calls"] == 0 and again["tokens"]["total"] == 0
        assert dict(server.calls) == {"Alien": 1, "Brazil": 1, "Casablanca": 1}
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == first
    records = read_lines(tmp_path / "out" / "answers.jsonl")
    assert [record["answer"] for record in records] == [f"About {text}" for text in texts]
    assert records[1] == {
        "custom_id": "item/1",
        "source": "item",
        "entity_id": "1",
        "extraction": "individual",
        "model": "toy",
        "prompt": "Brazil",
        # sha256sum of the six bytes
        "prompt_sha256": "07f62b021771d3cf67e2e1faf18769cc5e5c119ad7d4d1847a11e11d6d5a7ecb",
        "answer": "About Brazil",
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


def test_other_parameters_are_other_answers(capsys, prompt_file, tmp_path):
    prompts = prompt_file(["Alien"])
    with chat_server(echo) as server:
        for options in (
            [],
            ["--temperature", "1"],
            ["--max-tokens", "9"],
            ["--model", "other"],
            [],
        ):
            generate(capsys, prompts, tmp_path / "out", *endpoint(server), *options)
        assert [
            (call.body["model"], call.body["temperature"], call.body["max_tokens"])
            for call in server.seen
        ] == [("toy", 0.0, 512), ("toy", 1.0, 512), ("toy", 0.0, 9), ("other", 0.0, 512)]


def test_a_misbehaving_endpoint(capsys, prompt_file, tmp_path):
    stubborn = {
        "refused": failure(400, "too long"),
        "down": failure(500),
        "garbage": Reply(b'{"choices": [{"mess'),
        "no object": Reply(b"[1, 2]"),
        "empty": completion(""),
        "no choices": completion("x", choices=[]),
        "cut": completion("It was a dark and", finish_reason="length"),
        "declined": completion(None, choices=[{"message": {"refusal": "I will not"}}]),
        "filtered": completion("It", finish_reason="content_filter"),
        "surrogate": completion("half \ud83d"),
        "reset": Reply(reset=True),
    }
    recovering = {
        "limited once": failure(429, Retry_After="0"),
        "down once": failure(503),
        "garbage once": Reply(b"<html>"),
        "reset once": Reply(reset=True),
        "empty once": completion(" "),
    }

    def behave(call: Call) -> Reply:
        if call.prompt in stubborn:
            return stubborn[call.prompt]
        return recovering[call.prompt] if call.number == 1 else echo(call)

    prompts = prompt_file([*stubborn, *recovering])
    with chat_server(behave) as server:
        code, summary, err = generate(
            capsys, prompts, tmp_path / "out", *endpoint(server, "--strict"),
            *fast_retries(tmp_path / "c.yaml"),
        )  # fmt: skip
        assert code == 3 and "Traceback" not in err
        assert summary["answered"] == len(recovering)
        assert list(reasons(tmp_path / "out").values()) == [
            "http_400", "server_error", "malformed_response", "malformed_response",
            "blank_answer", "blank_answer", "truncated", "refusal", "content_filter",
            "invalid_text", "connection_failed",
        ]  # fmt: skip
        calls = [server.calls[text] for text in stubborn]
        # One try and three retries where a retry may help; two attempts for paid, bad answers.
        assert calls == [1, 4, 4, 4, 2, 2, 1, 1, 1, 2, 4]
        assert {server.calls[text] for text in recovering} == {2}

        # Paid answers stay rejected without a call; unpaid failures are tried again.
        server.calls.clear()
        code, again, _ = generate(
            capsys, prompts, tmp_path / "out", *endpoint(server),
            *fast_retries(tmp_path / "c.yaml", keep_truncated=True, retries=0),
        )  # fmt: skip
        assert code == 0 and dict(server.calls) == {
            name: 1 for name in ("refused", "down", "garbage", "no object", "reset")
        }
        assert again["answered"] == len(recovering) + 1
        kept = read_lines(tmp_path / "out" / "answers.jsonl")[0]
        assert (kept["answer"], kept["finish_reason"]) == ("It was a dark and", "length")


def test_a_slow_endpoint_times_out(capsys, prompt_file, tmp_path):
    def behave(call: Call) -> Reply:
        answer = completion("late")
        return Reply(answer.body, delay=1.0) if call.prompt == "slow" else answer

    prompts = prompt_file(["slow", "quick"])
    with chat_server(behave) as server:
        code, summary, _ = generate(
            capsys, prompts, tmp_path / "out", *endpoint(server),
            *fast_retries(tmp_path / "c.yaml", timeout_seconds=0.3, retries=1),
        )  # fmt: skip
    assert code == 0 and reasons(tmp_path / "out") == {1: "timeout"}
    assert summary["answered"] == 1 and server.calls["slow"] == 2


def test_an_endpoint_that_is_down_or_refuses_the_key_ends_the_run(capsys, prompt_file, tmp_path):
    prompts = prompt_file(f"film {number}" for number in range(30))
    options = fast_retries(tmp_path / "c.yaml", retries=0, stop_after_failures=3, concurrency=1)
    with chat_server(lambda call: failure(401, f"wrong key {call.authorization}")) as server:
        code, _, err = generate(capsys, prompts, tmp_path / "a", *endpoint(server), *options)
        assert code == 1 and "the key is wrong or missing" in err and server.calls.total() == 1
        assert KEY not in err
    with chat_server(lambda call: failure(500)) as server:
        code, _, err = generate(capsys, prompts, tmp_path / "b", *endpoint(server), *options)
        assert code == 1 and "3 prompts failed in a row" in err and server.calls.total() == 3
    summary = json.loads((tmp_path / "b" / "summary.json").read_text())
    assert (summary["rejected"], summary["not_attempted"]) == (3, 27)
    code, _, err = generate(capsys, prompts, tmp_path / "b", *endpoint(server), *options)
    assert code == 1 and "connection_failed" in err


def test_the_key_is_written_nowhere(capsys, prompt_file, tmp_path):
    def tell_tale(call: Call) -> Reply:
        return failure(400, f"you sent {call.authorization}")

    prompts = prompt_file(["Alien", "Brazil"])
    with chat_server(tell_tale) as server:
        _, _, err = generate(capsys, prompts, tmp_path / "out", *endpoint(server))
    assert "[key]" in (tmp_path / "out" / "dead_letters.jsonl").read_text()
    assert KEY not in err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


def test_a_budget_stops_before_it_is_exceeded(capsys, prompt_file, tmp_path):
    prompts = prompt_file(f"film {number:02d}" for number in range(12))
    with chat_server(echo) as server:
        # A call may spend 2 + 4 + 20 tokens and spends 12: after 5 calls 60 + 26 exceed 80.
        options = endpoint(server, "--max-tokens", "20", "--budget-tokens", "80")
        code, summary, err = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 0 and summary["stopped"] == "budget"
        assert (summary["answered"], summary["not_attempted"]) == (5, 7)
        assert "7 prompts were not attempted" in err
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *options, "--strict")
        assert code == 3 and summary["answered"] == 10 and server.calls.total() == 10

        # $2 per million answer tokens: $0.00007 pays for 35 tokens, two calls of at most 20.
        dollars = endpoint(
            server, "--max-tokens", "20", "--budget-usd", "0.00007", "--price-input", "0",
            "--price-output", "2", "--temperature", "1",
        )  # fmt: skip
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *dollars)
        assert code == 0 and summary["stopped"] == "budget" and summary["cost_usd"] <= 0.00007
        assert summary["calls"] == 4  # 5 spent by each; the fifth could reach 40


def test_structured_answers_have_one_field_per_factor(capsys, prompt_file, tmp_path):
    schema = tmp_path / "schema.json"
    document = {
        "type": "object",
        "properties": {"genre": {"type": "string"}, "mood": {"type": "string"}},
        "required": ["genre", "mood"],
        "additionalProperties": False,
    }
    schema.write_text(json.dumps(document))
    answers = {
        "good": '{"mood": "tense", "genre": "horror"}',
        "prose": "It is a horror film.",
        "half": '{"genre": "horror"}',
        "more": '{"genre": "horror", "mood": "tense", "age": "12"}',
        "number": '{"genre": 3, "mood": "tense"}',
    }
    prompts = prompt_file(answers)
    with chat_server(lambda call: completion(answers[call.prompt])) as server:
        options = endpoint(server, "--json-schema", str(schema))
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 0 and summary["rejected_by_reason"] == {"schema_mismatch": 4}
        assert server.calls == {"good": 1, "prose": 2, "half": 2, "more": 2, "number": 2}
        assert server.seen[0].body["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "factors", "strict": True, "schema": document},
        }
    (record,) = read_lines(tmp_path / "out" / "answers.jsonl")
    assert record["factors"] == {"genre": "horror", "mood": "tense"}
    assert record["answer"] == "genre: horror\nmood: tense"


def test_bad_prompt_lines_become_dead_letters(capsys, tmp_path):
    good = {"custom_id": "item/1", "source": "item", "entity_id": "1",
            "extraction": "individual", "prompt": "Alien"}  # fmt: skip
    lines = [
        json.dumps(good),
        "not JSON",
        "",
        json.dumps({**good, "custom_id": "item/2", "prompt": "  "}),
        json.dumps({**good, "custom_id": "item/3", "prompt_sha256": "0" * 64}),
        json.dumps({**good, "custom_id": "item/4", "extraction": "both"}),
        json.dumps({**good, "prompt": "another"}),
        json.dumps({"prompt": "Alien"}),
    ]
    prompts = tmp_path / "prompts.jsonl.gz"
    prompts.write_bytes(gzip.compress("\n".join(lines).encode()))
    with chat_server(echo) as server:
        code, summary, _ = generate(capsys, str(prompts), tmp_path / "out", *endpoint(server))
        assert dict(server.calls) == {"Alien": 1}
    assert code == 0 and (summary["read"], summary["answered"]) == (7, 1)
    assert reasons(tmp_path / "out") == {
        2: "malformed_json",
        4: "blank_field",
        5: "prompt_hash_mismatch",
        6: "extraction_mismatch",
        7: "duplicate_custom_id",
        8: "missing_field",
    }


def test_dry_run_calls_and_writes_nothing(capsys, prompt_file, tmp_path):
    prompts = prompt_file(["Alien", "Brazil", "Alien"])
    with chat_server(echo) as server:
        options = endpoint(
            server, "--max-tokens", "10", "--price-input", "1", "--price-output", "1"
        )
        code, result, err = generate(capsys, prompts, tmp_path / "out", *options, "--dry-run")
        assert not server.calls
        assert code == 0 and not (tmp_path / "out").exists()
        generate(capsys, prompts, tmp_path / "out", *options)
        _, later, _ = generate(capsys, prompts, tmp_path / "out", *options, "--dry-run")
        assert later["calls"] == 0 and server.calls.total() == 2
    # Alien is 2 tokens, Brazil 2, and 4 for each message.
    assert (result["calls"], result["prompt_tokens_estimate"]) == (2, 12)
    assert result["cost_usd_at_most"] == pytest.approx(32 / 1e6) and "at most 20" in err


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
    assert summary["rejected_by_reason"] == {"failed_request": 1, "http_500": 1}
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


def command(prompts: str, out: Path, server: ChatServer, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "preprocessing", "generate", "--prompts", prompts, "--out", str(out),
         *endpoint(server), "--concurrency", "4", *more],
        cwd=Path(__file__).parents[3], stderr=subprocess.PIPE, text=True, env=os.environ.copy(),
    )  # fmt: skip


def wait_for_calls(server: ChatServer, number: int, process: subprocess.Popen) -> None:
    while server.calls.total() < number:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_killed_run_repeats_at_most_the_calls_in_flight(capsys, prompt_file, tmp_path):
    prompts = prompt_file(f"film {number}" for number in range(60))
    with chat_server(lambda call: Reply(echo(call).body, delay=0.02)) as server:
        for calls in (15, 40):
            process = command(prompts, tmp_path / "out", server)
            wait_for_calls(server, calls, process)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *endpoint(server))
        assert code == 0 and summary["answered"] == 60
        assert summary["calls"] < 60
        repeated = server.calls.total() - 60
        assert repeated <= 2 * 4 and max(server.calls.values()) <= 3
    answers = [record["answer"] for record in read_lines(tmp_path / "out" / "answers.jsonl")]
    assert answers == [f"About film {number}" for number in range(60)]


def test_ctrl_c_stops_cleanly(capsys, prompt_file, tmp_path):
    prompts = prompt_file(f"film {number}" for number in range(200))
    with chat_server(lambda call: Reply(echo(call).body, delay=0.02)) as server:
        process = command(prompts, tmp_path / "out", server)
        wait_for_calls(server, 10, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        assert process.returncode == 1 and "Traceback" not in err
        assert "waiting for the calls in flight" in err
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["stopped"] == "interrupted" and summary["not_attempted"] > 0
        assert summary["answered"] == server.calls.total()
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *endpoint(server))
        assert code == 0 and summary["answered"] == server.calls.total() == 200


def test_two_runs_never_share_a_store(capsys, prompt_file, tmp_path):
    prompts = prompt_file(f"film {number}" for number in range(50))
    with chat_server(lambda call: Reply(echo(call).body, delay=0.05)) as server:
        process = command(prompts, tmp_path / "out", server)
        wait_for_calls(server, 4, process)
        code, _, err = generate(capsys, prompts, tmp_path / "out", *endpoint(server))
        process.communicate()
        assert code == 1 and "another run uses this answer store" in err
        assert server.calls.total() == 50
