from __future__ import annotations

import statistics
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.trainer.report.synthetic import helpful_report
from trainer.report.cells import Cell, result_cells


def key_of(cell: Cell) -> tuple[str, str]:
    return cell.backbone, cell.knowledge


def test_a_cell_has_the_means_over_its_seeds() -> None:
    report = helpful_report()
    cells = result_cells(report)
    assert [(cell.backbone, cell.knowledge) for cell in cells] == [
        (backbone, arm) for backbone in ("din", "dcnv2") for arm in ("none", "hein", "hein_match")
    ]
    for cell in cells:
        tests = [
            run.predictions for run in report.experiment.runs_of(cell.backbone, cell.knowledge)
        ]
        aucs = [roc_auc_score(test.labels, test.scores) for test in tests]
        losses = [log_loss(test.labels, test.scores) for test in tests]
        assert cell.seed_values == pytest.approx(aucs, abs=1e-12)
        assert list(cell.means) == ["auc", "logloss", "gauc"]
        assert cell.value == cell.means["auc"] == pytest.approx(np.mean(aucs), abs=1e-12)
        assert cell.means["logloss"] == pytest.approx(np.mean(losses), abs=1e-12)
        assert cell.seed_deviation == pytest.approx(statistics.stdev(aucs))
        seconds = [run.train_seconds for run in report.experiment.runs_of(*key_of(cell))]
        assert cell.train_seconds == pytest.approx(np.mean(seconds))
        assert cell.trainable_weights == 12_345


def test_a_cell_carries_its_comparison_and_the_baseline_none() -> None:
    report = helpful_report()
    compared = {(found.backbone, found.knowledge): found for found in report.experiment.comparisons}
    for cell in result_cells(report):
        assert cell.comparison == compared.get(key_of(cell))
        assert (cell.comparison is None) == (cell.knowledge == "none")


def test_one_seed_has_no_deviation() -> None:
    report = helpful_report()
    runs = [run for run in report.experiment.runs if run.seed == 2]
    cells = result_cells(replace(report, experiment=replace(report.experiment, runs=runs)))
    assert [cell.seed_deviation for cell in cells] == [None] * 6


def test_the_auc_interval_of_one_seed_is_that_of_resampled_users() -> None:
    report = helpful_report()
    one = [run for run in report.experiment.runs_of("din", "none") if run.seed == 2]
    report = replace(report, experiment=replace(report.experiment, runs=one, comparisons=[]))
    cell = result_cells(report)[0]
    test = report.experiment.runs[0].predictions
    runs = report.experiment.runs_of("din", "none")
    users, index = np.unique(test.user_ids, return_inverse=True)
    generator = np.random.default_rng(report.scenario.evaluation.bootstrap_seed)
    aucs = []
    for _ in range(report.scenario.evaluation.bootstrap_resamples):
        times = generator.multinomial(len(users), np.full(len(users), 1 / len(users)))
        rows = np.repeat(np.arange(len(index)), times[index])
        aucs.append(
            np.mean(
                [roc_auc_score(test.labels[rows], run.predictions.scores[rows]) for run in runs]
            )
        )
    assert (cell.low, cell.high) == pytest.approx(np.percentile(aucs, [2.5, 97.5]), abs=1e-12)
    assert cell.low < cell.value < cell.high


def test_the_interval_of_several_seeds_is_wider_than_that_of_their_users() -> None:
    report = helpful_report()
    cell = result_cells(report)[0]
    runs = report.experiment.runs_of("din", "none")
    alike = [replace(run, predictions=runs[0].predictions) for run in runs]
    users_only = result_cells(
        replace(report, experiment=replace(report.experiment, runs=alike, comparisons=[]))
    )[0]
    assert cell.high - cell.low > users_only.high - users_only.low
    assert cell.low < cell.value < cell.high
