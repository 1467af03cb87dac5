from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.__main__ import main
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
