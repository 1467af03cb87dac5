from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from configs.loading import ConfigurationError
from serving.commands.serve import (
    add_arguments,
    check_batching_options,
    models_of,
    options_of,
)
from serving.server.local_server import ServerOptions
from serving.server.model_settings import ModelSettings, VersionPolicy

MODEL = ["--model", "toy=base"]


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_options_left_out_are_the_servers_defaults() -> None:
    assert models_of(parsed(*MODEL)) == [ModelSettings("toy", Path("base"))]
    assert options_of(parsed(*MODEL)) == ServerOptions()


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
    words += ["--grpc-threads", "3", "--grace-seconds", "7"]
    words += ["--max-request-rows", "30", "--max-request-input-bytes", "40"]
    words += ["--max-rest-connections", "50", "--max-rest-connections-per-peer", "6"]
    words += ["--rest-header-seconds", "8", "--rest-body-seconds", "9.5"]
    words += ["--rest-keep-alive-seconds", "2"]
    assert options_of(parsed(*MODEL, *words)) == ServerOptions(
        poll_seconds=0.5,
        allow_version_labels_for_unavailable_models=True,
        maximum_grpc_request_bytes=10,
        maximum_rest_request_bytes=20,
        grpc_threads=3,
        grace_seconds=7,
        maximum_request_rows=30,
        maximum_request_input_bytes=40,
        maximum_rest_connections=50,
        maximum_rest_connections_per_peer=6,
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


def test_a_certificate_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ssl.config"
    path.write_text('server_key: "k"')
    with pytest.raises(ConfigurationError, match="ssl.config: server_cert is missing"):
        options_of(parsed(*MODEL, "--ssl-config-file", str(path)))


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
    ],
)
def test_models_that_contradict_each_other_are_refused(words: list[str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        models_of(parsed(*MODEL, *words))
