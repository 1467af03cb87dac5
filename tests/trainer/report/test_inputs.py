from __future__ import annotations

from dataclasses import replace

from tests.trainer.report.synthetic import helpful_report
from trainer.experiments.results import ExperimentResult


def test_the_order_is_that_of_the_experiment_with_the_baseline_first() -> None:
    report = helpful_report()
    experiment = report.experiment
    shuffled = replace(
        report, experiment=ExperimentResult(experiment.runs[6:] + experiment.runs[:6], [])
    )
    assert report.backbones == ["din", "dcnv2"]
    assert report.arms == ["none", "hein", "hein_match"]
    assert shuffled.arms == ["none", "hein", "hein_match"]


def test_comparisons_are_ordered_by_backbone_then_arm() -> None:
    report = helpful_report()
    experiment = report.experiment
    backwards = replace(
        report, experiment=ExperimentResult(experiment.runs, experiment.comparisons[::-1])
    )
    assert [(found.backbone, found.knowledge) for found in backwards.comparisons] == [
        ("din", "hein"),
        ("din", "hein_match"),
        ("dcnv2", "hein"),
        ("dcnv2", "hein_match"),
    ]
