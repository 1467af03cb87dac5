from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from serving.__main__ import main
from serving.commands import serve
from serving.server import LocalServer, local_server
from tests.serving.server.numbered_model import put_numbered_model
from tests.serving.server.waiting import wait_until
from tests.serving.toy_ranker import toy_base_path, toy_score

USER = {
    "user_id": "u1",
    "history_item_id": ["x"],
    "history_rating": [5.0],
    "user_share_liked": 1.0,
    "user_mean_rating": 5.0,
    "user_log_count": 0.7,
}


def test_serve_and_predict_as_programs(repository_root: Path) -> None:
    program = [sys.executable, "-m", "serving"]
    serving = subprocess.Popen(
        [*program, "serve", "--model", f"toy={toy_base_path()}", "--json"]
        + ["--grpc-port", "0", "--rest-port", "0"],
        cwd=repository_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        ready = json.loads(serving.stdout.readline())
        assert ready["models"] == {"toy": 3}
        for target in (
            f"grpc://127.0.0.1:{ready['grpc_port']}",
            f"http://127.0.0.1:{ready['rest_port']}",
        ):
            done = subprocess.run(
                [*program, "predict", "--target", target, "--model", "toy"]
                + ["--request", "-", "--json"],
                cwd=repository_root,
                input=json.dumps(USER | {"candidates": ["a", "bbb"]}),
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            ranking = json.loads(done.stdout)["ranking"]
            assert [row["item_id"] for row in ranking] == ["bbb", "a"]
            assert ranking[0]["score"] == pytest.approx(toy_score(item_id="bbb", **USER), rel=1e-6)
    finally:
        serving.send_signal(signal.SIGTERM)
        output, errors = serving.communicate(timeout=60)
    assert serving.returncode == 0, errors
    assert output == ""
    assert "serving toy version 3" in errors
    assert "official tensorflow/serving image" in errors
    assert "Traceback" not in errors


def test_a_server_with_files_swaps_versions_and_stops_while_it_is_used(
    repository_root: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    put_numbered_model(base, 1)
    config = tmp_path / "models.config"
    entry = (
        'model_config_list {{ config {{ name: "numbered" base_path: "{}" '
        'model_platform: "tensorflow" {} }} }}'
    )
    config.write_text(entry.format(base, ""))
    batching = tmp_path / "batching.config"
    batching.write_text("max_batch_size { value: 8 } batch_timeout_micros { value: 100 }")
    serving = subprocess.Popen(
        [sys.executable, "-m", "serving", "serve", "--model-config", str(config), "--json"]
        + ["--model-config-poll-seconds", "0.05", "--poll-seconds", "0.05"]
        + ["--batching-parameters-file", str(batching), "--grpc-port", "0", "--rest-port", "0"],
        cwd=repository_root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        model = f"http://127.0.0.1:{json.loads(serving.stdout.readline())['rest_port']}/v1/models/numbered"

        def answer(where: str) -> object:
            sent = requests.post(f"{model}{where}:predict", json={"inputs": [0.0]}, timeout=20)
            return sent.json().get("outputs")

        assert answer("") == [1.0]
        put_numbered_model(base, 2)
        wait_until(lambda: answer("") == [2.0])
        labelled = 'version_labels { key: "stable" value: 2 }'
        config.write_text(entry.format(base, labelled))
        wait_until(lambda: answer("/labels/stable") == [2.0])
    finally:
        serving.send_signal(signal.SIGTERM)
        _, errors = serving.communicate(timeout=60)
    assert serving.returncode == 0, errors
    assert "batching: checked; this server runs requests one by one" in errors
    assert "model 'numbered': version 2 is available" in errors
    assert "model 'numbered': version 1 is unloaded" in errors
    assert "Traceback" not in errors


def test_a_model_that_cannot_be_loaded_is_one_clear_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--grpc-port", "0", "--rest-port", "0", "--json"]
    assert main(["serve", "--model", f"toy={tmp_path}", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {tmp_path}: no version of model 'toy'")


def test_a_model_name_given_twice_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--model", "toy=a", "--model", "toy=b"]) == 2
    assert "a name of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--version-label", "toy=1"],
        ["--poll-seconds", "-1"],
        ["--grpc-threads", "0"],
        ["--model", "toy"],
        ["--model", "=base"],
        ["--model", "to/y=base"],
        ["--grpc-port", "70000"],
        ["--rest-port", "-1"],
    ],
)
def test_wrong_options_are_wrong_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--model", "toy=base", *words])
    assert caught.value.code == 2
    assert f"{words[0]}: expected" in capsys.readouterr().err


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """As in a shell: a program that was started in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_ctrl_c_ends_a_start_that_is_under_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise RuntimeError("the load went on")

    monkeypatch.setattr(local_server, "load_servable", load)
    arguments = ["--grpc-port", "0", "--rest-port", "0"]
    assert main(["serve", "--model", f"toy={toy_base_path()}", *arguments]) == 1
    assert capsys.readouterr().err.splitlines() == ["stopped"]


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_a_second_signal_does_what_it_did_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(server: LocalServer, grace_seconds: float | None = None) -> None:
        real_stop(server, 0)
        os.kill(os.getpid(), signal.SIGINT)
        raise RuntimeError("the stop went on")

    def say(message: str) -> None:
        if message.startswith("serving"):
            os.kill(os.getpid(), signal.SIGTERM)

    real_stop = LocalServer.stop
    monkeypatch.setattr(LocalServer, "stop", stop)
    monkeypatch.setattr(serve, "say", say)
    before = signal.getsignal(signal.SIGTERM)
    arguments = ["--grpc-port", "0", "--rest-port", "0"]
    assert main(["serve", "--model", f"toy={toy_base_path()}", *arguments]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "stopped"
    assert signal.getsignal(signal.SIGTERM) is before
