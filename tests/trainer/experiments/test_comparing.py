from __future__ import annotations

import pytest

from configs.loading import override_scenario
from tests.trainer.report.synthetic import helpful_report, synthetic_scenario
from trainer.experiments.running import comparisons_of, resamples_needed, smallest_adjusted_p
from trainer.predictions import compare_predictions
from trainer.significance import holm


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
