from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.trainer.report.synthetic import helpful_report
from trainer.report.cells import result_cells


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
        assert cell.seed_aucs == pytest.approx(aucs, abs=1e-12)
        assert cell.auc == pytest.approx(np.mean(aucs), abs=1e-12)
        assert cell.logloss == pytest.approx(np.mean(losses), abs=1e-12)


def test_a_cell_carries_its_comparison_and_the_baseline_none() -> None:
    report = helpful_report()
    compared = {
        (found.backbone, found.knowledge): found.difference
        for found in report.experiment.comparisons
    }
    for cell in result_cells(report):
        assert cell.difference == compared.get((cell.backbone, cell.knowledge))
        assert (cell.difference is None) == (cell.knowledge == "none")


def test_the_auc_interval_is_that_of_resampled_users() -> None:
    report = helpful_report()
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
    assert (cell.auc_low, cell.auc_high) == pytest.approx(
        np.percentile(aucs, [2.5, 97.5]), abs=1e-12
    )
    assert cell.auc_low < cell.auc < cell.auc_high
