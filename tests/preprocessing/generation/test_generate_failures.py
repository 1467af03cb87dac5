from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.preprocessing.answers.small_files import read_lines
from tests.preprocessing.generation.chat_server import (
    KEY,
    Call,
    ChatServer,
    Reply,
    chat_server,
    completion,
    echo,
    failure,
)
from tests.preprocessing.generation.generate_command import (
    endpoint,
    fast_retries,
    generate,
    reasons,
)
from tests.waiting import LONGEST_SECONDS, NEVER_SECONDS, wait_until

pytestmark = pytest.mark.usefixtures("key_in_the_environment")


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
        "error inside": Reply(b'{"error": {"message": "busy"}, "choices": []}'),
    }
    recovering = {
        "limited once": failure(429, Retry_After="0"),
        "down once": failure(503),
        "garbage once": Reply(b"<html>"),
        "reset once": Reply(reset=True),
        "empty once": completion(" "),
        "far away once": failure(429, Retry_After="Fri, 01 Jan 99999999999 00:00:00 GMT"),
        "odd charset once": failure(503, Content_Type="application/json; charset=hex"),
    }
    odd = {
        "finish": completion("Odd.", finish_reason="\ud800"),
        "model": completion("Odd.", model="\ud800"),
    }

    def behave(call: Call) -> Reply:
        if call.prompt in stubborn:
            return stubborn[call.prompt]
        if call.prompt in odd:
            return odd[call.prompt]
        return recovering[call.prompt] if call.number == 1 else echo(call)

    prompts = prompt_file([*stubborn, *recovering, *odd])
    with chat_server(behave) as server:
        code, summary, err = generate(
            capsys, prompts, tmp_path / "out", *endpoint(server, "--strict"),
            *fast_retries(tmp_path / "c.yaml"),
        )  # fmt: skip
        assert code == 3 and "Traceback" not in err
        assert summary["answered"] == len(recovering) + len(odd)
        assert list(reasons(tmp_path / "out").values()) == [
            "http_400", "server_error", "malformed_response", "malformed_response",
            "blank_answer", "blank_answer", "truncated", "refusal", "content_filter",
            "invalid_text", "connection_failed", "failed_request",
        ]  # fmt: skip
        calls = [server.calls[text] for text in stubborn]
        # One try and three retries where a retry may help; two attempts for paid, bad answers.
        assert calls == [1, 4, 4, 4, 2, 2, 1, 1, 1, 2, 4, 4]
        assert {server.calls[text] for text in recovering} == {2}

        # Paid answers stay rejected without a call; unpaid failures are tried again.
        server.calls.clear()
        code, again, _ = generate(
            capsys, prompts, tmp_path / "out", *endpoint(server),
            *fast_retries(tmp_path / "c.yaml", keep_truncated=True, retries=0),
        )  # fmt: skip
        assert code == 3 and dict(server.calls) == {
            name: 1 for name in ("refused", "down", "garbage", "no object", "reset", "error inside")
        }
        assert again["answered"] == len(recovering) + len(odd) + 1
        kept = read_lines(tmp_path / "out" / "answers.jsonl")[0]
        assert (kept["answer"], kept["finish_reason"]) == ("It was a dark and", "length")


def test_a_slow_endpoint_times_out(capsys, prompt_file, tmp_path):
    def behave(call: Call) -> Reply:
        return Reply(echo(call).body, delay=NEVER_SECONDS if call.prompt == "slow" else 0.0)

    with chat_server(behave) as server:
        generate(capsys, prompt_file(["quick"]), tmp_path / "out", *endpoint(server))
        code, summary, _ = generate(
            capsys, prompt_file(["slow", "quick"]), tmp_path / "out", *endpoint(server),
            *fast_retries(tmp_path / "c.yaml", timeout_seconds=0.3, retries=1),
        )  # fmt: skip
        wait_until(lambda: server.calls["slow"] == 2)
    assert code == 3 and reasons(tmp_path / "out") == {1: "timeout"}
    assert summary["answered"] == 1


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


@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_an_endpoint_that_fails_every_call_fails_the_run(capsys, prompt_file, tmp_path, strict):
    def behave(call: Call) -> Reply:
        return failure(400, "too long") if call.prompt == "film 0" else failure(500, "no memory")

    options = fast_retries(tmp_path / "c.yaml", retries=0)
    prompts = prompt_file(f"film {number}" for number in range(4))
    with chat_server(behave) as server:
        code, summary, err = generate(
            capsys, prompts, tmp_path / "out", *endpoint(server, *strict), *options
        )
    assert code == 1 and "Traceback" not in err
    assert summary["rejected_by_reason"] == {"http_400": 1, "server_error": 3}
    assert "no prompt has an answer: 3 server_error (1 calls; HTTP 500" in err
    assert "1 http_400 (HTTP 400" in err and "no memory" in err


@pytest.mark.parametrize("strict", [[], ["--strict"]])
def test_a_run_with_some_answers_is_done_in_part(capsys, prompt_file, tmp_path, strict):
    def behave(call: Call) -> Reply:
        return echo(call) if call.prompt == "film 0" else failure(500)

    options = fast_retries(tmp_path / "c.yaml", retries=0)
    prompts = prompt_file(f"film {number}" for number in range(3))
    with chat_server(behave) as server:
        code, summary, err = generate(
            capsys, prompts, tmp_path / "out", *endpoint(server, *strict), *options
        )
    assert (code, summary["answered"]) == (3, 1)
    assert summary["rejected_by_reason"] == {"server_error": 2} and "  2 server_error: " in err
    assert "2 prompts have no answer: 2 server_error (1 calls; HTTP 500" in err


def test_the_key_is_written_nowhere(capsys, prompt_file, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")  # as mounted secrets end

    def tell_tale(call: Call) -> Reply:
        assert call.authorization == f"Bearer {KEY}"
        if call.prompt == "Alien":
            return failure(400, f"you sent {call.authorization}")
        if call.prompt == "Brazil":
            return Reply(b"<html>", headers={"Retry-After": call.authorization})
        return completion(
            f"You sent {call.authorization}", finish_reason=KEY, model=f"m {call.authorization}"
        )

    prompts = prompt_file(["Alien", "Brazil", "Casablanca"])
    with chat_server(tell_tale) as server:
        code, summary, err = generate(
            capsys, prompts, tmp_path / "out", *endpoint(server),
            *fast_retries(tmp_path / "c.yaml"),
        )  # fmt: skip
    assert code == 3 and summary["answered"] == 1
    assert "[key]" in (tmp_path / "out" / "dead_letters.jsonl").read_text()
    assert "You sent Bearer [key]" in (tmp_path / "out" / "answers.jsonl").read_text()
    assert KEY not in err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


def test_a_key_that_cannot_be_sent_ends_the_command(capsys, prompt_file, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nsecond line")
    with chat_server(echo) as server:
        code, _, err = generate(capsys, prompt_file(["Alien"]), tmp_path / "out", *endpoint(server))
    assert code == 2 and server.calls.total() == 0
    assert "generation.api_key_variable" in err and KEY not in err


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
        json.dumps({**good, "custom_id": "item/9", "prompt": "x" * (9 << 20)}),
        json.dumps({**good, "custom_id": "item/10"})[:-1] + ', "x": 1e999}',
    ]
    prompts = tmp_path / "prompts.jsonl.gz"
    prompts.write_bytes(gzip.compress("\n".join(lines).encode()))
    with chat_server(echo) as server:
        code, summary, _ = generate(capsys, str(prompts), tmp_path / "out", *endpoint(server))
        assert dict(server.calls) == {"Alien": 1}
    assert code == 0 and (summary["read"], summary["answered"]) == (9, 1)
    assert reasons(tmp_path / "out") == {
        2: "malformed_json",
        4: "blank_field",
        5: "prompt_hash_mismatch",
        6: "extraction_mismatch",
        7: "duplicate_custom_id",
        8: "missing_field",
        9: "line_too_long",
        10: "malformed_json",
    }


_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
from preprocessing.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_is_named_and_costs_no_stored_answer(capsys, prompt_file, tmp_path):
    texts = [f"film {number}" for number in range(12)]
    prompts, out = prompt_file(texts), tmp_path / "out"
    with chat_server(lambda call: completion(f"{call.prompt} " + "x" * 20_000)) as server:
        options = endpoint(server, "--concurrency", "1")
        process = subprocess.run(
            [sys.executable, "-c", _LIMITED, "generate", "--prompts", prompts, "--out", str(out),
             *options],
            cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 1 and "Traceback" not in process.stderr
        assert f"error: {out / 'answer_store.sqlite'}: the answer store cannot" in process.stderr
        assert "what was stored before is kept" in process.stderr
        paid = server.calls.total()
        assert 1 < paid < len(texts)
        code, summary, _ = generate(capsys, prompts, out, *options)
        # The answer that found no room is asked for again, no other one.
        assert (code, summary["calls"], server.calls.total()) == (0, 13 - paid, 13)
        assert summary["answered"] == 12


@pytest.mark.parametrize("name", ["answers.jsonl", "summary.json"])
def test_a_full_disk_under_the_outputs_is_named(capsys, prompt_file, tmp_path, name):
    prompts, out = prompt_file(["Alien"]), tmp_path / "out"
    out.mkdir()
    (out / f".{name}.partial").symlink_to("/dev/full")  # writing there fails as on a full disk
    with chat_server(echo) as server:
        code, _, err = generate(capsys, prompts, out, *endpoint(server))
        assert code == 1
        assert f"error: {out / name}: the disk is full (No space left on device)" in err
        code, summary, _ = generate(capsys, prompts, out, *endpoint(server))
        assert (code, summary["answered"], server.calls.total()) == (0, 1, 1)


_PATIENT = f"""
import sys
from configs import openai_connection
openai_connection.STOP_GRACE_SECONDS = {NEVER_SECONDS}
from preprocessing.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def command(prompts: str, out: Path, server: ChatServer, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", _PATIENT, "generate", "--prompts", prompts, "--out", str(out),
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
    prompts = prompt_file(f"film {number}" for number in range(40))
    stopping, turns = threading.Event(), itertools.count()

    def behave(call: Call) -> Reply:
        if next(turns) >= 8:
            stopping.wait(LONGEST_SECONDS)
        return echo(call)

    with chat_server(behave) as server:
        process = command(prompts, tmp_path / "out", server)
        wait_for_calls(server, 12, process)
        process.send_signal(signal.SIGINT)
        messages = []
        for line in process.stderr:
            messages.append(line)
            if "waiting for the calls in flight" in line:
                stopping.set()
        assert process.wait() == 1 and stopping.is_set()
        assert "Traceback" not in "".join(messages)
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["stopped"] == "interrupted" and summary["not_attempted"] == 28
        assert summary["answered"] == server.calls.total() == 12
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *endpoint(server))
        assert code == 0 and summary["answered"] == server.calls.total() == 40


def test_two_runs_never_share_a_store(capsys, prompt_file, tmp_path):
    prompts = prompt_file(f"film {number}" for number in range(8))
    refused = threading.Event()

    def behave(call: Call) -> Reply:
        refused.wait(LONGEST_SECONDS)
        return echo(call)

    with chat_server(behave) as server:
        process = command(prompts, tmp_path / "out", server)
        wait_for_calls(server, 1, process)
        code, _, err = generate(capsys, prompts, tmp_path / "out", *endpoint(server))
        refused.set()
        process.communicate()
        assert code == 1 and "another run uses this answer store" in err
        assert server.calls.total() == 8
