from __future__ import annotations

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
