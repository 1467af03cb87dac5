from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.runs import shared_store
from tests.scenarios import tiny_scenario
from tests.trainer.toy_training import toy_examples, toy_model
from trainer.training import train
from trainer.training_input import MemoryInput
from trainer.training_loop import ProgressBar, counted


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool = True) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)


@pytest.mark.parametrize("terminal", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_bar_on_a_terminal_and_a_line_an_epoch_elsewhere(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    on_a_terminal(monkeypatch, terminal)
    scenario = tiny_scenario(
        run_dir=str(tmp_path / "run"), model__adapter="none", training__epochs=1
    )
    train(scenario, shared_store(), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert ("\r" in captured.err) is terminal
    if terminal:
        assert "run epoch 1/1" in captured.err and "validation_auc=0." in captured.err
    else:
        (line,) = [line for line in captured.err.splitlines() if line.startswith("run epoch")]
        assert re.fullmatch(
            r"run epoch 1/1: \d+\.\d steps/s with validation, 00:00 left at most, "
            r"validation_auc 0\.\d{4}",
            line,
        )


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_a_resumed_epoch_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], steps_per_execution: int
) -> None:
    on_a_terminal(monkeypatch)
    examples = MemoryInput(toy_examples(80), batch_size=8, seed=1)
    bar = ProgressBar("run", examples.steps, epochs=3)
    model = toy_model(steps_per_execution=steps_per_execution)
    for epoch, first_step in ((1, 3), (2, 0)):
        model.fit(
            examples.epoch(epoch, first_step),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=10 - first_step,
            callbacks=[bar],
            verbose=0,
        )
        bar.on_epoch_row({"epoch": epoch + 1, "train_loss": 0.5, "validation_auc": 0.75})
        shown = capsys.readouterr().err
        assert f"run epoch {epoch + 1}/3" in shown and "validation_auc=0.7500" in shown
        assert f"| {first_step}/10" in shown and "| 10/10" in shown
        assert "train_loss" not in shown
    bar.close()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("metric", ["auc", "ndcg_at_10", "new_items_recall_at_10"])
def test_the_metric_of_every_kind_of_model_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], metric: str
) -> None:
    on_a_terminal(monkeypatch)
    bar = ProgressBar("run", steps=2, epochs=1)
    bar.on_epoch_row({"epoch": 1, f"validation_{metric}": 0.123456})
    bar.close()
    assert f"validation_{metric}=0.1235" in capsys.readouterr().err


def test_lines_say_how_much_is_done_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(counted("abc", "evaluating")) == ["a", "b", "c"]
    assert list(counted([], "nothing")) == []
    assert capsys.readouterr().err.splitlines() == ["evaluating: 0 of 3", "evaluating: 3 of 3"]
