from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import pytest

from configs.command_line import CommandError, add_field_options, section_of
from configs.loading import ConfigurationError
from serving.client import RankingClient, RestRankingClient
from serving.commands.server_options import client_of, read_request
from serving.options import RequestOptions


def read(*words: str) -> RequestOptions:
    parser = argparse.ArgumentParser()
    add_field_options(parser, RequestOptions)
    return section_of(parser.parse_args(["--model", "m", *words]), RequestOptions)


def test_the_scheme_names_the_transport() -> None:
    with client_of(read("--target", "grpc://h:1", "--version-label", "stable")) as client:
        assert isinstance(client, RankingClient)
        assert (client.address.target, client.address.version_label) == ("h:1", "stable")
        assert client.retry_policy.timeout_seconds == 10
    words = ["--target", "http://h:1", "--model-version", "3", "--timeout-seconds", "2.5"]
    with client_of(read(*words)) as client:
        assert isinstance(client, RestRankingClient)
        assert (client.address.target, client.address.model_version) == ("http://h:1", 3)
        assert client.retry_policy.timeout_seconds == 2.5


@pytest.mark.parametrize(
    "words",
    [
        ["--target", "h:1"],
        ["--target", "grpc://h"],
        ["--target", "grpc://h:x"],
        ["--target", "grpc://h:1", "--timeout-seconds", "0"],
        ["--target", "grpc://h:1", "--model-version", "0"],
        ["--target", "grpc://h:1", "--model-version", "1", "--version-label", "stable"],
        ["--target", "grpc://h:1", "--positive-rating", "nan"],
        [],
    ],
)
def test_wrong_options_are_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read(*words)
    assert caught.value.code == 2


def test_certificates_need_encryption_and_come_in_pairs(tmp_path: Path) -> None:
    key = str(tmp_path / "client.key")
    with pytest.raises(ConfigurationError, match="grpcs:// or https://"):
        client_of(read("--target", "grpc://h:1", "--root-certificates", key))
    with pytest.raises(ConfigurationError, match="both or neither"):
        client_of(read("--target", "grpcs://h:1", "--client-key", key))
    with pytest.raises(FileNotFoundError, match="client.key"):
        client_of(read("--target", "grpcs://h:1", "--root-certificates", key))
    with client_of(read("--target", "https://h:1")) as client:
        assert isinstance(client, RestRankingClient)


GOOD = {"user_id": "42", "candidates": ["50"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ("{'user_id': 1}", "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"candidates": ["1"]}', "'user_id' is missing"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "user.json"
    path.write_text(text)
    with pytest.raises(CommandError, match=f"user.json: .*{reason}"):
        read_request(str(path), positive_rating=4.0)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "user.json"
    path.write_bytes(b'{"user_id": "\xff"}')
    with pytest.raises(CommandError, match="user.json: not valid JSON"):
        read_request(str(path), positive_rating=4.0)


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for body, works in ((json.dumps(GOOD), True), ("{", False)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body.encode())))
        if works:
            assert read_request("-", positive_rating=4.0)[0].user_id == "42"
        else:
            with pytest.raises(CommandError, match="standard input: not valid JSON"):
                read_request("-", positive_rating=4.0)
