from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from trainer.__main__ import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: exit code, standard output and standard error."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return command


@pytest.fixture
def json_result(run: Callable[..., tuple[int, str, str]]) -> Callable[..., dict[str, Any]]:
    """The one JSON object that a successful command prints."""

    def result(*arguments: str) -> dict[str, Any]:
        code, output, errors = run(*arguments, "--json")
        assert code == 0, errors
        assert output.count("\n") == 1 and output.endswith("\n")
        return json.loads(output)

    return result
