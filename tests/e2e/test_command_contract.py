"""What users and programs rely on: the options of every command, and exit codes.

Where a change of the options is meant, write the file anew and review its difference:

    REKI_WRITE_CONTRACT=1 python -m pytest -p no:xdist tests/e2e/test_command_contract.py
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import preprocessing.__main__
import serving.__main__
import trainer.__main__

CONTRACT = Path(__file__).with_name("command_contract.json")
WRITES = bool(os.environ.get("REKI_WRITE_CONTRACT"))
PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "preprocessing": preprocessing.__main__.main,
    "trainer": trainer.__main__.main,
    "serving": serving.__main__.main,
}


def run(program: str, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = PROGRAMS[program](list(words))
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue(), err.getvalue()


def contract(part: str, now: Any) -> Any:
    """What the contract says of a part; written first where that is asked for."""
    whole = json.loads(CONTRACT.read_text(encoding="utf-8")) if CONTRACT.exists() else {}
    if WRITES:
        whole[part] = now
        CONTRACT.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return whole[part]


def commands_of(program: str) -> list[str]:
    _, out, _ = run(program, "--help")
    listed = out.split("COMMAND\n")[-1]
    return re.findall(r"^ {4}([a-z]+)\b", listed, flags=re.MULTILINE)


@pytest.mark.parametrize("program", PROGRAMS)
def test_options_of_every_command(program: str) -> None:
    options = {}
    for command in commands_of(program):
        code, out, _ = run(program, command, "--help")
        assert code == 0
        options[command] = sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", out)))
    assert options == contract(f"options of {program}", options)


@pytest.mark.parametrize(
    ("program", "words", "code"),
    [
        ("preprocessing", ["nothing"], 2),
        ("preprocessing", ["examples"], 2),
        ("preprocessing", ["examples", "--config", "absent.yaml"], 2),
        ("preprocessing", ["import", "--source", "item", "--out", "{tmp}/out", "absent"], 2),
        ("preprocessing", ["import", "--source", "item", "--out", "{tmp}/out", "{broken}"], 1),
        ("trainer", ["train", "--config", "configs/movielens_small.yaml", "model.bakbone=din"], 2),
        ("trainer", ["evaluate", "absent"], 1),
        ("serving", ["export", "absent", "--out", "{tmp}/out"], 1),
        ("serving", ["serve", "--model", "films"], 2),
    ],
)
def test_exit_codes(program: str, words: list[str], code: int, tmp_path: Path) -> None:
    broken = tmp_path / "broken.klg"
    broken.write_text('{"1": {"prompt": "x", "ans')
    filled = [word.format(tmp=tmp_path, broken=broken) for word in words]
    given, _, err = run(program, *filled)
    assert (given, "Traceback" in err) == (code, False), err
