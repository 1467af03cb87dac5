from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.trainer.report.synthetic import helpful_report
from trainer.bootstrap import Difference
from trainer.experiment import Comparison, ExperimentResult
from trainer.report.inputs import ReportInputs
from trainer.report.slices import BUCKETS, COLD, PopularitySlice
from trainer.report.wording import summary_text, verdict

UP = Difference(0.8, 0.812, 0.012, 0.01, 0.014)
DOWN = Difference(0.8, 0.792, -0.008, -0.01, -0.006)
OPEN = Difference(0.8, 0.801, 0.001, -0.002, 0.004)


def report_of(differences: Mapping[tuple[str, str], Difference]) -> ReportInputs:
    report = helpful_report()
    comparisons = [Comparison(*key, difference) for key, difference in differences.items()]
    return replace(report, experiment=ExperimentResult(report.experiment.runs, comparisons))


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (UP, "raises"),
        (DOWN, "lowers"),
        (OPEN, "unclear"),
        (Difference(0.8, 0.8, 0.0, 0.0, 0.0), "unclear"),
        (Difference(0.8, 0.801, 0.001, 0.0, 0.002), "unclear"),
    ],
)
def test_the_verdict_follows_the_interval(difference: Difference, expected: str) -> None:
    assert verdict(difference) == expected


def test_a_gain_everywhere_is_the_headline() -> None:
    text = summary_text(
        report_of({("din", "hein_match"): UP, ("dcnv2", "hein_match"): UP, ("din", "hein"): OPEN}),
        [],
    )
    assert text.startswith(
        "Knowledge used as 'hein_match' raises test AUC on every backbone tried."
    )
    assert (
        "Compared with 'none', 'hein_match' raises AUC for "
        "din (0.8000 to 0.8120, +1.50 %, +0.0120 [+0.0100, +0.0140]) and dcnv2 (" in text
    )
    assert "'hein' makes no difference that this test part can tell from zero for din (" in text
    assert "lowers" not in text


def test_a_gain_on_one_backbone_only_is_not_sold_as_one_everywhere() -> None:
    text = summary_text(report_of({("din", "hein"): UP, ("dcnv2", "hein"): DOWN}), [])
    assert text.startswith("Knowledge raises test AUC on some backbones only")
    assert "'hein' raises AUC for din (" in text
    assert "; it lowers AUC for dcnv2 (0.8000 to 0.7920, -1.00 %, " in text


def test_harm_everywhere_is_said_plainly() -> None:
    text = summary_text(report_of({("din", "hein"): DOWN, ("dcnv2", "hein"): DOWN}), [])
    assert text.startswith("Knowledge lowers test AUC in every comparison")
    assert "raises" not in text


def test_intervals_that_cover_zero_are_no_gain() -> None:
    text = summary_text(report_of({("din", "hein"): OPEN, ("dcnv2", "hein"): DOWN}), [])
    assert text.startswith("No arm with knowledge raises test AUC")
    assert "+0.0010 [-0.0020, +0.0040]" in text


def test_one_backbone_is_named() -> None:
    text = summary_text(report_of({("din", "hein"): UP}), [])
    assert text.startswith("Knowledge used as 'hein' raises test AUC on din.")


def test_without_an_arm_with_knowledge_there_is_nothing_to_compare() -> None:
    assert summary_text(report_of({}), []).startswith("Only the arm 'none' was run")


def test_the_size_of_the_test_part_is_named() -> None:
    report = helpful_report()
    test = report.experiment.runs[0].predictions
    users = len(set(test.user_ids))
    assert f"means over 3 seeds on 1,500 test samples of {users} users" in summary_text(report, [])
    one = replace(
        report,
        experiment=ExperimentResult([run for run in report.experiment.runs if run.seed == 2], []),
    )
    assert "Figures are of one seed on 1,500 test samples" in summary_text(one, [])


def test_cold_items_are_judged_by_their_own_intervals() -> None:
    slices = [
        PopularitySlice("din", "hein", COLD, 300, 50, OPEN),
        PopularitySlice("din", "hein", BUCKETS[1], 400, 60, UP),
        PopularitySlice("din", "hein_match", COLD, 300, 50, UP),
    ]
    text = summary_text(report_of({("din", "hein"): UP}), slices)
    assert (
        "On items without a training interaction (300 test samples) the AUC differences are: "
        "'hein' din +0.0010 [-0.0020, +0.0040] (covers zero); "
        "'hein_match' din +0.0120 [+0.0100, +0.0140]." in text
    )


def test_too_few_cold_samples_are_not_judged() -> None:
    slices = [PopularitySlice("din", "hein", COLD, 12, 9, None)]
    text = summary_text(report_of({("din", "hein"): UP}), slices)
    assert "too few test samples to judge (12 test samples)" in text


def test_a_leak_comes_before_everything_else() -> None:
    report = helpful_report()
    leaking = replace(report, leak={**report.leak, "leak_violations": 3})
    assert summary_text(leaking, []).startswith(
        "Do not use these results: the LLM saw 3 of the samples"
    )
