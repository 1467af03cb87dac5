from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.runs import shared_store
from tests.scenarios import tiny_scenario
from trainer.training import train


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_goes_to_a_terminal_and_nowhere_else(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    scenario = tiny_scenario(
        run_dir=str(tmp_path / "run"), model__adapter="none", training__epochs=1
    )
    train(scenario, shared_store(), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("run epoch 1/1" in captured.err and "validation_auc=0." in captured.err) is terminal
