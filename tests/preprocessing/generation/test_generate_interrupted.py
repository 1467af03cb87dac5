from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.preprocessing.generation.chat_server import ChatServer, Reply, chat_server, echo
from tests.preprocessing.generation.files import read_lines
from tests.preprocessing.generation.generate_command import endpoint, generate

pytestmark = pytest.mark.usefixtures("key_in_the_environment")


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
