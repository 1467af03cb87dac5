from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from configs.loading import override_scenario
from tests.trainer.report.synthetic import helpful_report, synthetic_scenario
from trainer.experiments.comparing import (
    comparisons_of,
    holm,
    resamples_needed,
    smallest_adjusted_p,
)
from trainer.predictions import compare_predictions


def test_holm_by_hand() -> None:
    """The example of the four p-values 0.01, 0.04, 0.03, 0.005, m = 4."""
    # Sorted 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1 -> 0.02, 0.03, 0.06, max(0.06, 0.04).
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_is_stricter_than_a_false_discovery_rate_and_milder_than_bonferroni() -> None:
    values = np.random.default_rng(3).uniform(size=20) ** 2
    adjusted = np.array(holm(values.tolist()))
    assert (adjusted >= false_discovery_control(values) - 1e-12).all()
    assert (adjusted <= np.minimum(values * 20, 1) + 1e-12).all()


def test_every_arm_is_compared_with_the_baseline_of_its_backbone() -> None:
    report = helpful_report()
    found = comparisons_of(report.scenario, report.experiment.runs)
    assert {(one.backbone, one.knowledge) for one in found} == {
        (backbone, arm) for backbone in ("din", "dcnv2") for arm in ("hein", "hein_match")
    }
    for one in found:
        none, arm = (
            [run.predictions for run in report.experiment.runs_of(one.backbone, name)]
            for name in ("none", one.knowledge)
        )
        assert one.difference == compare_predictions(none, arm, 200, 0)["auc"]
    adjusted = holm([one.difference.p_value for one in found])
    assert [one.adjusted_p for one in found] == adjusted


def test_another_baseline_may_be_chosen() -> None:
    report = helpful_report()
    scenario = override_scenario(report.scenario, {"experiment.baseline": "hein"})
    found = comparisons_of(scenario, report.experiment.runs)
    assert {one.knowledge for one in found} == {"none", "hein_match"}
    against_none = {one.knowledge: one.difference for one in report.comparisons[:2]}
    (none,) = [one for one in found if (one.backbone, one.knowledge) == ("din", "none")]
    assert none.difference.difference == pytest.approx(-against_none["hein"].difference)


def test_a_backbone_without_the_baseline_is_compared_with_nothing() -> None:
    report = helpful_report()
    runs = [
        run for run in report.experiment.runs if (run.backbone, run.knowledge) != ("din", "none")
    ]
    found = comparisons_of(report.scenario, runs)
    assert {one.backbone for one in found} == {"dcnv2"}


@pytest.mark.parametrize(("resamples", "comparisons"), [(39, 1), (40, 1), (159, 4), (160, 4)])
def test_too_few_resamples_are_known_beforehand(resamples: int, comparisons: int) -> None:
    scenario = synthetic_scenario(resamples=resamples)
    smallest = smallest_adjusted_p(scenario, comparisons)
    assert smallest == pytest.approx(comparisons * 2 / (resamples + 1))
    assert (smallest < 0.05) == (resamples >= resamples_needed(comparisons))
