from __future__ import annotations

import pytest

from tests.trainer.evaluation import synthetic_metrics
from trainer.evaluation.reports import print_part, print_table


def test_a_line_says_the_most_and_tables_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    print_part("runs/a, test", "ctr", synthetic_metrics.ctr())
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line.split() for line in captured.err.splitlines()]
    assert captured.err.startswith("runs/a, test: AUC 0.8000, LogLoss 0.5000, GAUC 0.6500")
    assert "8,304 samples" in captured.err.splitlines()[0]
    assert ["normalised", "entropy", "0.7700"] in lines and ["users", "671"] in lines
    assert ["metric", "k", "=", "1", "k", "=", "10"] in lines
    assert ["ndcg", "0.7000", "0.8400"] in lines and ["map", "0.7000", "0.7700"] in lines
    assert ["task", "'loved':"] in lines and lines.count(["AUC", "0.7000"]) == 1
    (noir,) = [line for line in captured.err.splitlines() if "Film-Noir" in line]
    assert "–" in noir and "all samples have label 1" in noir


def test_retrieval_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    print_part("runs/b, test", "retrieval", synthetic_metrics.retrieval())
    errors = capsys.readouterr().err
    assert "65 examples" in errors.splitlines()[0] and "few samples" in errors


def test_figures_stand_below_each_other_and_text_is_no_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(["group", "n"], [["[bold]x[/bold]", "7"], ["y", "1,234"]], sections=True)
    lines = capsys.readouterr().err.splitlines()
    (first,) = [line for line in lines if "[bold]x[/bold]" in line]
    (second,) = [line for line in lines if "1,234" in line]
    assert len(first.rstrip()) == len(second.rstrip())
