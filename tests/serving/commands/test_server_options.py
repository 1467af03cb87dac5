from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from configs.loading import ConfigurationError
from serving.client import RankingClient, RestRankingClient
from serving.commands.server_options import (
    GRPC_SCHEMES,
    add_server_options,
    client_of,
    positive_number,
    positive_seconds,
)


def parse(*words: str, schemes: tuple[str, ...] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_server_options(parser, **({} if schemes is None else {"schemes": schemes}))
    return parser.parse_args(["--model", "m", *words])


def test_the_scheme_names_the_transport() -> None:
    with client_of(parse("--target", "grpc://h:1", "--version-label", "stable")) as client:
        assert isinstance(client, RankingClient)
        assert (client.address.target, client.address.version_label) == ("h:1", "stable")
        assert client.retry_policy.timeout_seconds == 10
    words = ["--target", "http://h:1", "--model-version", "3", "--timeout-seconds", "2.5"]
    with client_of(parse(*words)) as client:
        assert isinstance(client, RestRankingClient)
        assert (client.address.target, client.address.model_version) == ("http://h:1", 3)
        assert client.retry_policy.timeout_seconds == 2.5


@pytest.mark.parametrize(
    ("words", "schemes"),
    [
        (["--target", "h:1"], None),
        (["--target", "grpc://h"], None),
        (["--target", "http://h:1"], GRPC_SCHEMES),
        (["--target", "grpc://h:1", "--timeout-seconds", "0"], None),
        (["--target", "grpc://h:1", "--model-version", "0"], None),
        (["--target", "grpc://h:1", "--model-version", "1", "--version-label", "stable"], None),
    ],
)
def test_wrong_options_are_wrong_usage(words: list[str], schemes: tuple[str, ...] | None) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(*words, schemes=schemes)
    assert caught.value.code == 2


def test_certificates_need_encryption_and_come_in_pairs(tmp_path: Path) -> None:
    key = str(tmp_path / "client.key")
    with pytest.raises(ConfigurationError, match="grpcs:// or https://"):
        client_of(parse("--target", "grpc://h:1", "--root-certificates", key))
    with pytest.raises(ConfigurationError, match="both or neither"):
        client_of(parse("--target", "grpcs://h:1", "--client-key", key))
    with pytest.raises(FileNotFoundError, match="client.key"):
        client_of(parse("--target", "grpcs://h:1", "--root-certificates", key))
    with client_of(parse("--target", "https://h:1")) as client:
        assert isinstance(client, RestRankingClient)


def test_numbers_are_more_than_0() -> None:
    assert (positive_seconds("0.5"), positive_number("1e3", "requests")) == (0.5, 1000.0)
    for text in ("0", "-1", "inf", "nan", "soon"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected requests, more than 0"):
            positive_number(text, "requests")
