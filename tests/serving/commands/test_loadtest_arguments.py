from __future__ import annotations

import argparse

import pytest

from serving.commands.loadtest import add_arguments


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["--model", "m", "--target", "grpc://127.0.0.1:1", *words])


def test_lists_are_numbers() -> None:
    arguments = parse("--candidates", "1,10", "--rate", "0.5,20", "--made-up", "7,9")
    assert arguments.candidates == (1, 10)
    assert arguments.rate == (0.5, 20.0)
    assert arguments.made_up == (7, 9)


def test_what_is_left_out_has_a_default() -> None:
    arguments = parse("--warmup-seconds", "0")
    assert arguments.candidates == (1, 10, 100)
    assert (arguments.signature, arguments.arrivals) == ("rank", "poisson")
    assert arguments.find_limit is None and arguments.warmup_seconds == 0
    assert arguments.timeout_seconds == 1.0
    assert arguments.positive_rating is None
    assert parse("--positive-rating", "1").positive_rating == 1.0


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
        parse(*words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err
