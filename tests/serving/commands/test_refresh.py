from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from configs.command_line import TeachingParser, run_command
from serving.commands import refresh


def parse(*words: str) -> argparse.Namespace:
    parser = TeachingParser(prog="serving")
    refresh.add_command(parser.add_subparsers(required=True))
    return parser.parse_args(["refresh", *words])


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--help")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for taught in ("python -m serving refresh --model out/export", "--dry-run", "openai-batch"):
        assert taught in said


def test_wrong_wishes_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = parse("--model", str(tmp_path), "--json")
    assert run_command(arguments.run, arguments) == 2
    assert "--answers: name files of new answers" in capsys.readouterr().err
    arguments = parse("--model", str(tmp_path), "--answers", "new.jsonl")
    assert run_command(arguments.run, arguments) == 2
    assert f"--model {tmp_path}: there is no version folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        parse("--model", "x", "--answers", "y", "--version", "0")
    assert ended.value.code == 2
