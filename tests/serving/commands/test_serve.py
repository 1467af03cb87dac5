from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

from configs.command_line import section_of
from configs.loading import ConfigurationError
from serving.__main__ import main
from serving.commands import servers
from serving.commands.servers import add_arguments, check_batching_options, models_of
from serving.options import ServerOptions
from serving.protocol.messages import prediction_service_pb2_grpc
from serving.server import LocalServer, local_server
from serving.server.server_files import ModelSettings, VersionPolicy
from tests.serving.server.numbered_model import add_request, answer_of, put_numbered_model
from tests.serving.toy_ranker import toy_base_path, toy_score
from tests.waiting import LONGEST_SECONDS, wait_until

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
        env=os.environ | {"OTEL_TRACES_EXPORTER": "console"},
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
                + ["--request", "-", "--json", "--timeout-seconds", str(LONGEST_SECONDS)],
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
        output, errors = serving.communicate(timeout=LONGEST_SECONDS)
    assert serving.returncode == 0, errors
    assert output == ""
    assert "serving toy version 3" in errors
    assert "official tensorflow/serving image" in errors
    assert "Traceback" not in errors
    # Spans go to standard error, the last ones when the server has stopped.
    spans = errors.count('"name": "Predict toy"')
    assert spans >= 2 and errors.count('"service.name": "reki-serve"') == spans


def test_a_server_with_files_swaps_versions_and_stops_while_it_is_used(
    repository_root: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    put_numbered_model(base, 1)
    config, log = tmp_path / "models.config", tmp_path / "log"

    def ask_for_the_model(labels: str = "") -> None:
        # As one move: a server that looks in between would complain of half a file.
        unfinished = config.with_suffix(".unfinished")
        unfinished.write_text(
            f'model_config_list {{ config {{ name: "numbered" base_path: "{base}" '
            f'model_platform: "tensorflow" {labels} }} }}'
        )
        unfinished.rename(config)

    ask_for_the_model()
    batching = tmp_path / "batching.config"
    batching.write_text("max_batch_size { value: 8 } batch_timeout_micros { value: 100 }")
    with log.open("w") as errors:
        serving = subprocess.Popen(
            [sys.executable, "-m", "serving", "serve", "--model-config", str(config), "--json"]
            + ["--model-config-poll-seconds", "0.05", "--poll-seconds", "0.05"]
            + ["--batching-parameters-file", str(batching), "--grpc-port", "0", "--rest-port", "0"],
            cwd=repository_root,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert serving.stdout is not None
        ready = json.loads(serving.stdout.readline())
        model = f"http://127.0.0.1:{ready['rest_port']}/v1/models/numbered"

        def answer(where: str) -> object:
            sent = requests.post(
                f"{model}{where}:predict", json={"inputs": [0.0]}, timeout=LONGEST_SECONDS
            )
            return sent.json().get("outputs")

        assert answer("") == [1.0]
        put_numbered_model(base, 2)
        wait_until(lambda: answer("") == [2.0])
        ask_for_the_model('version_labels { key: "stable" value: 2 }')
        wait_until(lambda: answer("/labels/stable") == [2.0])
        wait_until(lambda: "model 'numbered': version 1 is unloaded" in log.read_text())
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=LONGEST_SECONDS)
    told = log.read_text()
    assert serving.returncode == 0, told
    assert "batching: checked; this server runs requests one by one" in told
    assert "model 'numbered': version 2 is available" in told
    assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize("entrypoint", ["GRPC", "REST"])
def test_what_runs_is_answered_when_sigterm_comes_under_load(
    entrypoint: str, repository_root: Path, tmp_path: Path
) -> None:
    """The server's spans say which requests have run: each has an answer, and no other has."""
    log = tmp_path / "log"
    with log.open("w") as errors:
        serving = subprocess.Popen(
            [sys.executable, "-m", "serving", "serve", "--json", "--grpc-port", "0"]
            + ["--rest-port", "0", "--model", f"numbered={put_numbered_model(tmp_path, 1).parent}"],
            cwd=repository_root,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"OTEL_TRACES_EXPORTER": "console"},
        )
    assert serving.stdout is not None
    ready = json.loads(serving.stdout.readline())
    url = f"http://127.0.0.1:{ready['rest_port']}/v1/models/numbered:predict"
    answers: list[list[float]] = []
    refusals: list[object] = []

    def ask_over_grpc() -> list[float]:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return answer_of(stub.Predict(add_request([1.0] * 1000), LONGEST_SECONDS))

    def ask_over_rest() -> list[float]:
        sent = requests.post(url, json={"inputs": [1.0] * 1000}, timeout=LONGEST_SECONDS)
        sent.raise_for_status()
        return sent.json()["outputs"]

    def call(ask: Callable[[], list[float]]) -> None:
        while True:
            try:
                answers.append(ask())
            except (grpc.RpcError, requests.RequestException) as error:
                refusals.append(error)
                return

    ask = {"GRPC": ask_over_grpc, "REST": ask_over_rest}[entrypoint]
    with grpc.insecure_channel(f"127.0.0.1:{ready['grpc_port']}") as channel:
        callers = [threading.Thread(target=call, args=(ask,)) for _ in range(12)]
        for caller in callers:
            caller.start()
        wait_until(lambda: len(answers) > 200)
        serving.send_signal(signal.SIGTERM)
        for caller in callers:
            caller.join(LONGEST_SECONDS)
        assert serving.wait(LONGEST_SECONDS) == 0
    assert len(refusals) == 12
    for refusal in refusals:
        if isinstance(refusal, grpc.RpcError):
            assert refusal.code() is grpc.StatusCode.UNAVAILABLE
        elif isinstance(refusal, requests.HTTPError):
            assert refusal.response.status_code == 503
    assert set(map(tuple, answers)) == {(2.0,) * 1000}
    told = log.read_text()
    assert told.count('"name": "Predict numbered"') == len(answers)
    assert told.count('"reki.outcome": "OK"') == len(answers)
    assert "Traceback" not in told


def test_a_model_that_cannot_be_loaded_is_one_clear_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--grpc-port", "0", "--rest-port", "0", "--json"]
    assert main(["serve", "--model", f"toy={tmp_path}", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {tmp_path}: no version of model 'toy'")


def test_a_label_of_a_version_that_is_not_there_says_which_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in (1, 2):
        put_numbered_model(tmp_path, version)
    words = ["--version-label", "m:stable=7", "--grpc-port", "0", "--rest-port", "0"]
    assert main(["serve", "--model", f"m={tmp_path}", *words]) == 1
    told = capsys.readouterr().err
    assert "--version-label m:stable=7" in told and "version 7 is not available" in told
    assert f"{tmp_path} holds the versions 1, 2, of which the policy serves 2" in told
    assert "--version-policy all" in told


def test_a_base_path_that_is_not_there_is_named_with_its_file_and_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent, config = tmp_path / "absent", tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{absent}" '
        'model_platform: "tensorflow" } }'
    )
    assert main(["serve", "--model-config", str(config)]) == 2
    said = f"{config}, model 'm', base_path: there is no file or folder '{absent}'"
    assert said in capsys.readouterr().err
    assert main(["serve", "--model", f"m={absent}"]) == 2
    assert f"--model m: there is no file or folder '{absent}'" in capsys.readouterr().err


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
    monkeypatch.setattr(servers, "say", say)
    before = signal.getsignal(signal.SIGTERM)
    arguments = ["--grpc-port", "0", "--rest-port", "0"]
    assert main(["serve", "--model", f"toy={toy_base_path()}", *arguments]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "stopped"
    assert signal.getsignal(signal.SIGTERM) is before


MODEL = ["--model", "toy=base"]


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_options_left_out_are_the_servers_defaults() -> None:
    assert models_of(parsed(*MODEL)) == [ModelSettings("toy", Path("base"))]
    assert section_of(parsed(*MODEL), ServerOptions) == ServerOptions()


def test_policy_and_labels_go_to_the_models() -> None:
    words = ["--model", "a=x", "--model", "b=y", "--version-policy", "latest:2"]
    labels = ["--version-label", "b:stable=3", "--version-label", "b:canary=4"]
    policy = VersionPolicy(latest=2)
    assert models_of(parsed(*words, *labels)) == [
        ModelSettings("a", Path("x"), policy),
        ModelSettings("b", Path("y"), policy, {"stable": 3, "canary": 4}),
    ]


def test_every_option_reaches_the_server() -> None:
    words = ["--poll-seconds", "0.5", "--allow-version-labels-for-unavailable-models"]
    words += ["--max-grpc-request-bytes", "10", "--max-rest-request-bytes", "20"]
    words += ["--grpc-threads", "3", "--max-grpc-requests", "4", "--grace-seconds", "7"]
    words += ["--max-request-rows", "30", "--max-request-input-bytes", "40"]
    words += ["--max-rest-connections", "50", "--max-rest-connections-per-peer", "6"]
    words += ["--rest-header-seconds", "8", "--rest-body-seconds", "9.5"]
    words += ["--rest-keep-alive-seconds", "2"]
    assert section_of(parsed(*MODEL, *words), ServerOptions) == ServerOptions(
        poll_seconds=0.5,
        allow_version_labels_for_unavailable_models=True,
        max_grpc_request_bytes=10,
        max_rest_request_bytes=20,
        grpc_threads=3,
        max_grpc_requests=4,
        grace_seconds=7,
        max_request_rows=30,
        max_request_input_bytes=40,
        max_rest_connections=50,
        max_rest_connections_per_peer=6,
        rest_header_seconds=8,
        rest_body_seconds=9.5,
        rest_keep_alive_seconds=2,
    )
    with pytest.raises(SystemExit):
        parsed(*MODEL, "--rest-body-seconds", "0")


def test_batching_is_checked_and_told_to_have_no_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_batching_options(parsed(*MODEL))
    assert capsys.readouterr().err == ""
    path = tmp_path / "batching.config"
    path.write_text("max_batch_size { value: 8 }")
    file = ["--batching-parameters-file", str(path)]
    values = [
        "--max-batch-size",
        "8",
        "--allowed-batch-sizes",
        "2,8",
        "--batch-timeout-micros",
        "9",
    ]
    for words in (file, values, ["--pad-variable-length-inputs"]):
        check_batching_options(parsed(*MODEL, *words))
        assert "requests one by one" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="combined with --max-batch-size"):
        check_batching_options(parsed(*MODEL, *file, "--max-batch-size", "4"))
    with pytest.raises(ConfigurationError, match="batch that runs, 4. Received: 2"):
        check_batching_options(
            parsed(*MODEL, "--max-batch-size", "4", "--allowed-batch-sizes", "1,2")
        )
    path.write_text("max_batch_size { value: 0 }")
    with pytest.raises(ConfigurationError, match="batching.config: max_batch_size"):
        check_batching_options(parsed(*MODEL, *file))


def test_a_certificate_is_read_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ssl.config"
    path.write_text('server_key: "k"')
    model = ["--model", f"toy={toy_base_path()}"]
    assert main(["serve", *model, "--ssl-config-file", str(path)]) == 2
    assert "ssl.config: server_cert is missing" in capsys.readouterr().err


def test_a_models_config_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text(
        'model_config_list { config { name: "a" base_path: "b" model_platform: "tensorflow" } }'
    )
    file = ["--model-config", str(path)]
    assert models_of(parsed(*file)) == [ModelSettings("a", Path("b"))]
    for words in (["--version-policy", "all"], ["--version-label", "a:stable=1"]):
        with pytest.raises(ConfigurationError, match="write them into the file"):
            models_of(parsed(*file, *words))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--model", "toy=other"], "a name of its own"),
        (["--version-policy", "newest"], "--version-policy: expected latest"),
        (["--version-label", "other:stable=1"], "there is no --model other=BASE"),
        (
            ["--version-label", "toy:stable=1", "--version-label", "toy:stable=2"],
            "toy:stable is given twice",
        ),
    ],
)
def test_models_that_contradict_each_other_are_refused(words: list[str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        models_of(parsed(*MODEL, *words))


@pytest.mark.parametrize(
    ("option", "text", "name", "value"),
    [
        ("--model", "movies=out/a=b", "models", [("toy", "base"), ("movies", "out/a=b")]),
        ("--version-label", "movies:stable=12", "version_labels", [("movies", "stable", 12)]),
        ("--grpc-port", "0", "grpc_port", 0),
        ("--rest-port", "65535", "rest_port", 65535),
        ("--grpc-threads", "1", "grpc_threads", 1),
        ("--max-batch-size", "2147483647", "max_batch_size", 2**31 - 1),
        ("--allowed-batch-sizes", "1,8,64", "allowed_batch_sizes", (1, 8, 64)),
        ("--grace-seconds", "0", "grace_seconds", 0.0),
        ("--poll-seconds", "1.5", "poll_seconds", 1.5),
    ],
)
def test_values_are_read(option: str, text: str, name: str, value: object) -> None:
    assert getattr(parsed(*MODEL, option, text), name) == value


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--model", "movies"),
        ("--model", "movies="),
        ("--model", "a/b=c"),
        ("--model", "=base"),
        ("--version-label", "movies=1"),
        ("--version-label", "movies:stable"),
        ("--version-label", "movies:stable=x"),
        ("--grpc-port", "65536"),
        ("--rest-port", "-1"),
        ("--rest-port", "\u0663"),
        ("--grpc-threads", "0"),
        ("--max-rest-connections", "x"),
        ("--max-batch-size", str(2**31)),
        ("--allowed-batch-sizes", "1,,8"),
        ("--poll-seconds", "-1"),
        ("--grace-seconds", "nan"),
        ("--model-config-poll-seconds", ""),
    ],
)
def test_other_values_are_wrong_usage_that_says_what_was_received(
    option: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", *MODEL, option, text])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert f"{option}: expected" in error and f"Received: {text!r}" in error


def test_the_folder_of_a_version_is_no_base_path(capsys: pytest.CaptureFixture[str]) -> None:
    version = toy_base_path() / "3"
    assert main(["serve", "--model", f"toy={version}"]) == 2
    said = capsys.readouterr().err
    assert "version 3 of a model" in said and f"--model toy={version.parent}\n" in said
    assert main(["serve", "--model", f"toy={version}/absent"]) == 2
    assert f"there is no file or folder '{version}/absent'" in capsys.readouterr().err
