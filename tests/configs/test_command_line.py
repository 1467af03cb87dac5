from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from configs.command_line import (
    CommandError,
    RejectedInput,
    TeachingParser,
    add_field_options,
    add_json_option,
    add_scenario_options,
    keys_help,
    run_command,
    say,
    scenario_of,
    section_of,
    set_up_tensorflow,
    warn_of_little_space,
)
from configs.loading import ConfigurationError, nothing_there
from configs.section import Metavar, OneOf, Section, TakesEffect

Result = Mapping[str, object]


def parse(*words: str) -> argparse.Namespace:
    parser = TeachingParser(prog="program")
    add_scenario_options(parser)
    add_json_option(parser)
    return parser.parse_args(["--config", "small.yaml", *words])


def succeed(arguments: argparse.Namespace) -> Result:
    say("working")
    return {"seen": arguments.overrides}


def test_json_is_the_only_thing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(succeed, parse("--json", "a.b=1")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"seen": ["a.b=1"]}
    assert captured.out.count("\n") == 1
    assert captured.err == "working\n"


def test_without_json_stdout_stays_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(succeed, parse()) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CommandError("no answers; run import first"), 1, "error: no answers; run import first\n"),
        (PermissionError(13, "refused", "x.csv"), 1, "error: [Errno 13] refused: 'x.csv'\n"),
        (FileNotFoundError("made first: run examples"), 1, "error: made first: run examples\n"),
        (FileNotFoundError(2, "gone", "x.csv"), 2, f"error: {nothing_there('x.csv')}\n"),
        (ConfigurationError("small.yaml: unknown key"), 2, "error: small.yaml: unknown key\n"),
        (KeyboardInterrupt(), 1, "stopped\n"),
    ],
)
def test_mistakes_become_exit_codes(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    def fail(_: argparse.Namespace) -> Result:
        raise error

    assert run_command(fail, parse("--json")) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", message)


def test_rejected_input_still_prints_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    def reject(_: argparse.Namespace) -> Result:
        raise RejectedInput("2 records", {"read": 5, "accepted": 3, "rejected": 2})

    assert run_command(reject, parse("--json")) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"read": 5, "accepted": 3, "rejected": 2}
    assert captured.err == "rejected: 2 records\n"


def test_a_failed_check_still_prints_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: argparse.Namespace) -> Result:
        raise CommandError("2 errors", {"errors": 2})

    assert run_command(fail, parse("--json")) == 1
    captured = capsys.readouterr()
    assert (json.loads(captured.out), captured.err) == ({"errors": 2}, "error: 2 errors\n")


def test_a_fault_of_the_program_is_not_hidden() -> None:
    def fault(_: argparse.Namespace) -> Result:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(fault, parse())


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        run_command(lambda _: {"auc": float("nan")}, parse("--json"))


@pytest.mark.parametrize("words", [["--jso"], ["--unknown"], ["--config"]])
def test_wrong_usage_points_to_the_help(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        parse(*words)
    assert raised.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("program: ")
    assert captured.err.endswith("Try 'program --help'.\n")


def test_config_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    parser = TeachingParser(prog="program")
    add_scenario_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert "--config" in capsys.readouterr().err


def test_scenario_of_reads_file_and_overrides(repository_root: Path) -> None:
    arguments = parse("training.seed=5")
    arguments.config = repository_root / "configs" / "movielens_small.yaml"
    assert scenario_of(arguments).training.seed == 5


def test_keys_help_lists_the_keys_below_the_prefixes() -> None:
    text = keys_help(["training.", "work_dir"])
    lines = text.splitlines()
    assert lines[0] == "scenario keys it reads:"
    assert "  work_dir  (text; required)" in lines
    keys = [line.strip() for line in lines[1:] if not line.startswith("      ")]
    assert all(key.startswith(("training.", "work_dir")) for key in keys)
    place = lines.index("  training.patience  (whole number from 1; default: 2)")
    assert lines[place + 1] == "      epochs without a better validation result before stopping"


@pytest.mark.parametrize("columns", [44, 72, 200])
def test_help_is_filled_to_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    prose = "Turns what is known of some users\ninto something that others can read. " * 3
    command = "  python -m bake --with many,many,options --and even more of them \\\n      rye"
    parser = TeachingParser(
        prog="bake",
        description=f"{prose}\n\nexample:\n{command}",
        epilog=keys_help(["model.backbone", "training.patience"]),
    )
    lines = parser.format_help().splitlines()
    commands = command.splitlines()
    assert set(commands) < set(lines)
    assert max(len(line) for line in lines if line not in commands) <= columns - 2
    said = " ".join(" ".join(lines).split())
    assert " ".join(prose.split()) in said
    assert "training.patience (whole number from 1; default: 2)" in said
    assert "setrank, mir, two_tower; default: din)" in said


@pytest.mark.parametrize(("present", "expected"), [(None, "1"), ("0", "0")])
def test_set_up_of_tensorflow_leaves_what_is_set(
    monkeypatch: pytest.MonkeyPatch, present: str | None, expected: str
) -> None:
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    if present is not None:
        monkeypatch.setenv("TF_USE_LEGACY_KERAS", present)
    set_up_tensorflow()
    assert os.environ["TF_USE_LEGACY_KERAS"] == expected


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "a.yaml", "x.y=1", "z=2", "--json"],
        ["x.y=1", "--config", "a.yaml", "--json", "z=2"],
        ["--json", "x.y=1", "z=2", "--config", "a.yaml"],
    ],
)
def test_overrides_may_stand_between_options(words: list[str]) -> None:
    parser = TeachingParser(prog="tool")
    add_scenario_options(parser)
    add_json_option(parser)
    parsed = parser.parse_args(words)
    assert (parsed.config, parsed.json, parsed.overrides) == ("a.yaml", True, ["x.y=1", "z=2"])


NUMBER_OPTIONS = [
    ("preprocessing", ["generate", "--prompts", "p", "--out", "o"], "--temperature"),
    ("preprocessing", ["generate", "--prompts", "p", "--out", "o"], "--budget-usd"),
    ("preprocessing", ["generate", "--prompts", "p", "--out", "o"], "--price-output"),
    ("preprocessing", ["prompts", "--config", "c"], "--price-input"),
    ("serving", ["predict", "--target", "grpc://h:1", "--model", "m"], "--positive-rating"),
    ("serving", ["loadtest", "--target", "grpc://h:1", "--model", "m"], "--seconds"),
    ("serving", ["loadtest", "--target", "grpc://h:1", "--model", "m"], "--warmup-seconds"),
    ("serving", ["loadtest", "--target", "grpc://h:1", "--model", "m"], "--rate"),
    ("serving", ["serve", "--model", "m=b"], "--poll-seconds"),
]


@pytest.mark.parametrize("number", ["nan", "inf", "9" * 400], ids=["nan", "inf", "digits"])
@pytest.mark.parametrize(("program", "words", "option"), NUMBER_OPTIONS)
def test_no_command_takes_an_infinite_number(
    capsys: pytest.CaptureFixture[str], program: str, words: list[str], option: str, number: str
) -> None:
    main = importlib.import_module(f"{program}.__main__").main
    with pytest.raises(SystemExit) as ended:
        main([*words, option, number])
    assert ended.value.code == 2
    assert f"argument {option}: expected " in capsys.readouterr().err


def test_a_full_disk_is_told_with_path_and_space(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "part.gz"

    def fail(arguments: argparse.Namespace) -> Result:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    assert run_command(fail, parse()) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {path}: the disk is full (No space left on device), ")
    assert re.search(r" [\d,]+\.\d MB are free there; make room or name another folder", shown)


def test_little_space_is_a_warning_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_little_space(tmp_path / "new", 1000, "examples")
    assert capsys.readouterr().err == ""
    warn_of_little_space(tmp_path / "new", 10**18, "examples")
    assert "warning: examples may need 1,000,000,000,000.0 MB" in capsys.readouterr().err


HELP_OF_ALL_COMMANDS = """
import re, sys
from contextlib import redirect_stdout
from io import StringIO
from {program}.__main__ import main

def help_of(*words):
    with redirect_stdout(StringIO()) as out:
        try:
            main([*words, "--help"])
        except SystemExit as ended:
            assert ended.code == 0
    return out.getvalue()

commands = re.findall(r"^ {{4}}([a-z]+)\\b", help_of().split("COMMAND\\n")[-1], re.MULTILINE)
for command in commands:
    assert "usage: " in help_of(command)
heavy = {{"tensorflow", "tf_keras", "apache_beam", "pandas", "pyarrow", "sklearn", "optuna"}}
heavy |= {{"onnxruntime", "grpc", "uvicorn", "numpy"}}
print(len(commands), *sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [("preprocessing", "13"), ("trainer", "5 numpy"), ("serving", "7")],
)
def test_help_imports_no_heavy_library(program: str, printed: str, repository_root: Path) -> None:
    code = HELP_OF_ALL_COMMANDS.format(program=program)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=repository_root, capture_output=True, text=True
    )
    assert (ended.stdout, ended.returncode) == (f"{printed}\n", 0), ended.stderr


@pytest.mark.parametrize("command", ["train", "experiment"])
def test_a_mistake_in_the_scenario_is_told_before_tensorflow_loads(
    command: str, repository_root: Path
) -> None:
    words = [command, "--config", "configs/movielens_small.yaml", "model.backbone=dinn"]
    code = f"""
import sys
from trainer.__main__ import main
print(main({words}), "tensorflow" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=repository_root, capture_output=True, text=True
    )
    assert ended.stdout == "2 False\n" and "Did you mean 'din'?" in ended.stderr


class Oven(Section):
    heat: int | None = Field(None, ge=1, le=9, description="of the oven")
    share: Annotated[float, Metavar("S")] = Field(0.5, ge=0, description="100 % is all of it")
    kind: Literal["gas", "wood"] | None = Field("gas", description="of the fire")
    open: bool = Field(False, description="the door")
    wood_pieces: Annotated[int, TakesEffect(".kind", ("wood",))] = 4
    trays: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2), description="which")
    size: Annotated[tuple[float, float], Metavar("W,H")] = (1.0, 2.5)
    loaves: list[int] = Field([], description="weights")
    start: Annotated[str | None, OneOf("when")] = None
    wait: Annotated[float | None, OneOf("when")] = Field(None, gt=0)


def test_an_option_without_effect_beside_the_others_is_refused() -> None:
    parser = TeachingParser(prog="bake")
    add_field_options(parser, Oven)
    options = parser.parse_args(["--kind", "wood", "--wood-pieces", "7"])
    assert section_of(options, Oven).wood_pieces == 7
    assert section_of(parser.parse_args(["--wood-pieces", "4"]), Oven) == Oven()
    with pytest.raises(ConfigurationError) as raised:
        section_of(parser.parse_args(["--wood-pieces", "7"]), Oven)
    expected = "--wood-pieces has no effect with kind=gas; leave it out, or take kind wood"
    assert str(raised.value) == expected


def test_an_option_is_what_its_field_says() -> None:
    parser = TeachingParser(prog="bake")
    add_field_options(parser, Oven)
    assert section_of(parser.parse_args([]), Oven) == Oven()
    line = (
        "--heat 3 --share 0.25 --kind wood --open --trays 3,4,5 --size 1,.5 --loaves 7 8 --wait 1"
    )
    wanted = Oven(
        heat=3,
        share=0.25,
        kind="wood",
        open=True,
        trays=(3, 4, 5),
        size=(1.0, 0.5),
        loaves=[7, 8],
        wait=1.0,
    )
    assert section_of(parser.parse_args(line.split()), Oven) == wanted
    shown = " ".join(parser.format_help().split())
    for part in (
        "--heat N of the oven (whole number from 1 to 9) --share S",
        "100 % is all of it (number from 0; default: 0.5)",
        "--trays N which (whole number from 1; default: 1,2)",
        "--size W,H (default: 1,2.5)",
        "--loaves N [N ...] weights --start",
        "[--start NAME | --wait N]",
    ):
        assert part in shown


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--heat 0", "expected a number greater than or equal to 1. Received: '0'"),
        ("--heat 10", "expected a number less than or equal to 9. Received: '10'"),
        ("--heat 1.5", "expected a valid integer"),
        ("--share nan", "expected a finite number. Received: 'nan'"),
        ("--share=-inf", "expected a finite number"),
        ("--share 1e999", "expected a finite number"),
        ("--share one", "expected a valid number"),
        ("--share=", "expected a valid number"),
        ("--share -1", "expected a number greater than or equal to 0"),
        ("--kind coal", "invalid choice: 'coal'"),
        ("--trays 1,,2", "expected N: a valid integer"),
        ("--trays 0", "expected N: a number greater than or equal to 1. Received: '0'"),
        ("--size 1", "expected W,H: Field required. Received: '1'"),
        ("--loaves 1 x", "expected a valid integer"),
        ("--wait 1 --start now", "not allowed with argument --wait"),
    ],
)
def test_values_that_the_field_refuses_are_wrong_usage(
    words: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = TeachingParser(prog="bake")
    add_field_options(parser, Oven)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words.split())
    said = capsys.readouterr().err
    assert ended.value.code == 2 and reason in said and re.split("[ =]", words)[0] in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trian", "bake: argument COMMAND: invalid choice: 'trian' .*Did you mean 'train'\\?"),
        (
            "train --dryrun",
            "bake train: unrecognized arguments: --dryrun. Did you mean '--dry-run'",
        ),
        ("train --dryrun=x", "bake train: unrecognized arguments: .*mean '--dry-run'\\?"),
        ("train --part val", "bake train: argument --part: .* Did you mean 'validation'\\?"),
        (
            "train seed=2 elsewhere",
            "bake train: unrecognized arguments: elsewhere\nTry 'bake train ",
        ),
    ],
)
def test_the_parser_of_the_mistake_says_what_was_meant(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = TeachingParser(prog="bake")
    train = program.add_subparsers(metavar="COMMAND", required=True).add_parser("train")
    train.add_argument("--dry-run", action="store_true")
    train.add_argument("--part", choices=["training", "validation"])
    if "elsewhere" not in words:
        train.add_argument("overrides", nargs="*")
    train.set_defaults(run=None, overrides=[])
    with pytest.raises(SystemExit) as ended:
        program.parse_args(words.split())
    assert ended.value.code == 2
    assert re.match(said, capsys.readouterr().err)


def test_options_may_stand_over_a_file_or_be_required(capsys: pytest.CaptureFixture[str]) -> None:
    over_a_file = TeachingParser(prog="bake")
    add_field_options(over_a_file, Oven, ("heat", "open"), stands_for="oven")
    assert vars(over_a_file.parse_args([])) == {"heat": None, "open": None}
    assert "default: oven.heat)" in over_a_file.format_help()

    class Recipe(Section):
        name: str

    strict = TeachingParser(prog="bake")
    add_field_options(strict, Recipe)
    with pytest.raises(SystemExit):
        strict.parse_args([])
    assert "required: --name" in capsys.readouterr().err
