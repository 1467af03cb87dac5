from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving.__main__ import main


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    for command in ("export", "serve", "predict", "deploy"):
        assert f"\n    {command} " in output


@pytest.mark.parametrize("arguments", [[], ["guess"], ["serve"], ["predict", "--model", "m"]])
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "Try 'python -m serving" in capsys.readouterr().err


def test_asking_for_help_loads_no_heavy_library(repository_root: Path) -> None:
    program = (
        "import sys\n"
        "from serving.__main__ import main\n"
        "try:\n"
        "    main(['predict', '--help'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'tensorflow', 'grpc', 'numpy', 'pyarrow', 'uvicorn'} & set(sys.modules)\n"
        "print('heavy:', *heavy)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository_root, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["heavy:"], done.stderr
