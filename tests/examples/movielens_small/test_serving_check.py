from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from configs.command_line import CommandError
from examples.movielens_small.serving_check import check_serving
from tests.serving.exports import exported
from tests.trainer.synthetic_results import result_of
from trainer.evaluation.runs import predict_run
from trainer.experiments.results import RunResult


@pytest.fixture(scope="module")
def run() -> RunResult:
    """The result of an exported run, with its scores of the test part."""
    folder = exported("din", "ridge").run.folder.path
    return dataclasses.replace(
        result_of("din", "hein_match"), folder=folder, predictions=predict_run(folder, "test")
    )


def test_an_export_of_the_run_agrees(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    export = exported("din", "ridge")
    check = check_serving(export.run.scenario, run, export.base)
    assert 0 <= check.largest_difference < 1e-5
    said = capsys.readouterr().err
    candidates = said.count("Film ") + said.count("(unknown)")
    assert 10 <= candidates <= 20
    assert check.scores_compared == len(run.predictions.scores) + 2 * candidates
    assert "serving version 1 of 'films'" in said


def test_an_export_of_another_run_is_noticed(run: RunResult) -> None:
    export, other = exported("din", "ridge"), exported("din", "hein")
    with pytest.raises(CommandError, match="served scores differ from the checkpoint's by"):
        check_serving(export.run.scenario, run, other.base)


def test_one_differing_score_is_enough(run: RunResult) -> None:
    scores = run.predictions.scores.copy()
    scores[-1] += np.float32(2e-5)
    changed = dataclasses.replace(
        run, predictions=dataclasses.replace(run.predictions, scores=scores)
    )
    export = exported("din", "ridge")
    with pytest.raises(CommandError, match="allowed is less than 1e-05"):
        check_serving(export.run.scenario, changed, export.base)
