from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.command_line import TeachingParser, run_command, section_of
from serving.commands import loadtest
from serving.options import LoadTestOptions
from serving.server import LocalServer
from tests.serving.toy_ranker import toy_base_path

QUICK = ["--seconds", "0.5", "--warmup-seconds", "0.25", "--arrivals", "even"]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer({"toy": toy_base_path()}) as server:
        yield server


def parse(*words: str) -> argparse.Namespace:
    parser = TeachingParser()
    loadtest.add_command(parser.add_subparsers(required=True))
    return parser.parse_args(["loadtest", *words])


def run(server: LocalServer, *words: str, model: str = "toy") -> int:
    target = f"grpc://127.0.0.1:{server.grpc_port}"
    arguments = parse(
        "--target", target, "--model", model, *QUICK, "--timeout-seconds", "20", *words
    )
    return run_command(arguments.run, arguments)


def test_every_rate_and_number_of_candidates_is_measured(
    server: LocalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--rate", "20,40", "--candidates", "1,5", "--out", str(tmp_path / "load"), "--json"]
    assert run(server, *words) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["model"], result["version"], result["signature"]) == ("toy", 3, "rank")
    measures = result["measures"]
    assert [(m["candidates"], m["rate"]) for m in measures] == [(1, 20), (1, 40), (5, 20), (5, 40)]
    assert [m["requests"] for m in measures] == [10, 20, 10, 20]
    for measure in measures:
        assert measure["answered"] == measure["requests"] and measure["failed"] == {}
        assert measure["versions"] == {"3": measure["requests"]}
        latency = measure["latency_ms"]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert result["same_machine"] is True
    assert "share this machine" in captured.err and "p99 ms" in captured.err
    assert json.loads((tmp_path / "load" / "results.json").read_text()) == result
    assert (tmp_path / "load" / "latency.svg").stat().st_size > 1000


def test_rows_of_a_request_file_are_sent(
    server: LocalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"user_id": "u", "candidates": ["a", "b"]}\n')
    words = ["--signature", "serving_default", "--requests", str(path), "--candidates", "2"]
    assert run(server, *words, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["requests"] == f"requests of {path}"
    assert result["measures"][0]["answered"] == 10


def test_a_limit_that_no_rate_reaches_is_reported(
    server: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--find-limit", "60000", "--highest-rate", "50", "--candidates", "1", "--json"]
    assert run(server, *words) == 0
    captured = capsys.readouterr()
    (limit,) = json.loads(captured.out)["limits"]
    assert (limit["candidates"], limit["rate"], limit["exceeded"]) == (1, 50, None)
    assert "up to 50 requests/s, the highest tried" in captured.err


def test_what_the_server_refuses_is_one_clear_line(
    server: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server, "--timeout-seconds", "0.5", model="other") == 1
    assert "model other" in capsys.readouterr().err


def options(*words: str) -> LoadTestOptions:
    arguments = parse("--model", "m", "--target", "grpc://127.0.0.1:1", *words)
    return section_of(arguments, LoadTestOptions)


def test_lists_are_numbers() -> None:
    read = options("--candidates", "1,10", "--rate", "0.5,20", "--made-up", "7,9")
    assert read.candidates == (1, 10)
    assert read.rate == (0.5, 20.0)
    assert read.made_up == (7, 9)


def test_what_is_left_out_has_a_default() -> None:
    read = options("--warmup-seconds", "0")
    assert read.candidates == (1, 10, 100)
    assert (read.signature, read.arrivals) == ("rank", "poisson")
    assert read.find_limit is None and read.warmup_seconds == 0
    assert read.timeout_seconds == 1.0
    assert read.positive_rating is None
    assert options("--positive-rating", "1").positive_rating == 1.0


@pytest.mark.parametrize(
    "words",
    [
        ["--rate", "0"],
        ["--rate", "10,x"],
        ["--candidates", "0"],
        ["--candidates", "1,,2"],
        ["--find-limit", "-1"],
        ["--find-limit", "5", "--rate", "10"],
        ["--signature", "classify"],
        ["--warmup-seconds", "-1"],
        ["--made-up", "10"],
        ["--made-up", "10,5", "--requests", "file"],
        ["--target", "http://127.0.0.1:8501"],
    ],
)
def test_wrong_options_are_wrong_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        options(*words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err
