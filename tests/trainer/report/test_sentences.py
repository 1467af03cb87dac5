from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from configs.loading import override_scenario
from tests.trainer.report.synthetic import helpful_report
from trainer.experiments.results import CellFailure, Comparison, ExperimentResult
from trainer.report.inputs import ReportInputs
from trainer.report.sentences import (
    difference_text,
    headlines,
    judgement,
    lift_text,
    mark,
    marks_note,
    p_text,
    summary_text,
    value_text,
    verdict,
)
from trainer.report.statistics import BUCKETS, COLD, PopularitySlice
from trainer.significance import Difference

UP = Difference(0.8, 0.812, 0.012, 0.01, 0.014, seed_error=0.0004)
DOWN = Difference(0.8, 0.792, -0.008, -0.01, -0.006, seed_error=0.0004)
OPEN = Difference(0.8, 0.801, 0.001, -0.002, 0.004, seed_error=0.0004)


def report_of(differences: Mapping[tuple[str, str], Difference]) -> ReportInputs:
    report = helpful_report()
    comparisons = [Comparison(*key, difference, 0.001) for key, difference in differences.items()]
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


def test_what_to_quote_is_of_the_arm_that_is_best_on_validation() -> None:
    report = helpful_report()
    best = report.experiment.best_run("din").knowledge
    other = next(arm for arm in report.arms if arm not in ("none", best))
    report = report_of({("din", best): DOWN, ("dcnv2", best): OPEN, ("din", other): UP})
    cold = [
        PopularitySlice("din", best, COLD, 1234, 99, UP),
        PopularitySlice("dcnv2", best, COLD, 1234, 99, None),
        PopularitySlice("din", other, COLD, 1234, 99, UP),
    ]
    assert headlines(report, cold) == [
        f"AUC of the test part, '{best}' against 'none': din 0.8000 to 0.7920 (-1.00 %, difference "
        "[-0.0100, -0.0060]) and dcnv2 0.8000 to 0.8010 (+0.12 %, difference [-0.0020, +0.0040]).",
        "AUC on items without a training interaction (1,234 samples): din 0.8000 to 0.8120 "
        "(+1.50 %, difference [+0.0100, +0.0140]).",
        "3 seeds, 1,500 test samples of 80 users; 95 % intervals over test users and training "
        "seeds.",
    ]


def test_what_to_quote_begins_with_what_forbids_it() -> None:
    leak = {**helpful_report().leak, "leak_violations": 3}
    first, *_ = headlines(replace(helpful_report(), leak=leak), [])
    assert first.startswith("Do not use these results: the LLM saw 3 of the samples")


def test_a_baseline_alone_has_no_gain_to_quote() -> None:
    report = helpful_report()
    alone = replace(report, experiment=ExperimentResult(report.experiment.runs[:6], []))
    assert headlines(alone, []) == ["Only the arm 'none' was run, so there is nothing to compare."]


def test_many_backbones_are_summed_up_in_what_to_quote() -> None:
    runs = helpful_report().experiment.runs
    renamed = [
        replace(run, backbone=f"{run.backbone}{number}") for number in range(3) for run in runs
    ]
    best = helpful_report().experiment.best_run("din").knowledge
    differences = [UP, UP, DOWN, OPEN, UP, UP]
    names = dict.fromkeys(run.backbone for run in renamed)
    comparisons = [
        Comparison(name, best, difference, 0.001)
        for name, difference in zip(names, differences, strict=True)
    ]
    report = replace(helpful_report(), experiment=ExperimentResult(renamed, comparisons))
    assert headlines(report, [])[0].endswith(
        "against 'none': -0.0080 to +0.0120, with an interval above zero for 4 of 6 backbones."
    )


def test_without_an_interval_nothing_is_claimed() -> None:
    few = Difference(0.8, 0.812, 0.012, math.nan, math.nan, math.nan, seed_error=0.0004)
    assert verdict(few) == "unclear" and difference_text(few) == "+0.0120 [no interval]"
    best = helpful_report().experiment.best_run("din").knowledge
    report = report_of({("din", best): few})
    first, last = headlines(report, [])
    assert "din 0.8000 to 0.8120 (+1.50 %, difference [no interval])" in first
    assert "no intervals over" in last
    text = summary_text(report, [])
    assert text.startswith("The test part cannot judge any difference of AUC: too few users")
    assert "95 %" not in text


def test_without_the_baseline_nothing_is_compared() -> None:
    report = helpful_report()
    others = [run for run in report.experiment.runs if run.knowledge != "none"]
    failures = [CellFailure("din", "none", "seed 1", "out of memory")]
    alone = replace(report, experiment=ExperimentResult(others, [], failures=failures))
    said = "No run of the baseline 'none' is there, so nothing is compared."
    assert headlines(alone, [])[-1] == said and said in summary_text(alone, [])


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
    assert text.startswith("No arm with knowledge raises test AUC: no interval lies above zero")
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


@pytest.mark.parametrize(
    ("difference", "adjusted_p", "expected"),
    [
        (UP, 0.04, "raises"),
        (UP, 0.06, "uncertain"),
        (DOWN, 0.04, "lowers"),
        (DOWN, 0.06, "uncertain"),
        (OPEN, 0.3, "unclear"),
        (replace(UP, seed_error=math.nan), 0.001, "one_seed"),
        (replace(OPEN, seed_error=math.nan), 0.001, "unclear"),
    ],
)
def test_a_judgement_stands_after_correction_only(
    difference: Difference, adjusted_p: float, expected: str
) -> None:
    assert judgement(Comparison("din", "hein", difference, adjusted_p)) == expected


def test_a_single_seed_shows_no_effect() -> None:
    single = replace(UP, seed_error=math.nan)
    text = summary_text(report_of({("din", "hein"): single, ("dcnv2", "hein"): single}), [])
    assert text.startswith("One seed per model shows no effect on test AUC")
    assert "raises" not in text
    assert "'hein' has an interval beside zero that does not cover other seeds" in text
    assert text.endswith("over test users; seeds are not covered.")


def uncertain_report(resamples: int) -> ReportInputs:
    report = helpful_report()
    comparisons = [
        Comparison("din", "hein", UP, 0.06),
        Comparison("din", "hein_match", OPEN, 0.7),
    ]
    scenario = override_scenario(report.scenario, {"evaluation.bootstrap_resamples": resamples})
    experiment = ExperimentResult(report.experiment.runs, comparisons)
    return replace(report, scenario=scenario, experiment=experiment)


def test_what_the_correction_takes_back_is_no_gain() -> None:
    text = summary_text(uncertain_report(1000), [])
    assert text.startswith("No arm raises test AUC beyond what 2 comparisons may show by chance.")
    assert (
        "'hein' has an interval beside zero, which the correction for 2 comparisons does not "
        "confirm, for din (0.8000 to 0.8120" in text
    )


def test_too_few_resamples_are_said_to_be_the_reason() -> None:
    text = summary_text(uncertain_report(50), [])
    assert text.startswith("50 bootstrap resamples are too few to judge 2 comparisons.")


def test_what_failed_is_said_before_the_results() -> None:
    report = report_of({("din", "hein"): UP})
    failures = [
        CellFailure("dcnv2", "hein", "seed 1", "killed"),
        CellFailure("dcnv2", "hein", "seed 2", "killed"),
        CellFailure("dcnv2", "none", "tuning", "killed"),
    ]
    experiment = replace(report.experiment, failures=failures)
    assert summary_text(replace(report, experiment=experiment), []).startswith(
        "Not everything could be trained; left out: dcnv2 hein and dcnv2 none."
    )


def test_many_backbones_are_counted_and_not_listed() -> None:
    backbones = ["din", "dien", "dcn", "dcnv2", "deepfm", "dlrm"]
    report = report_of(
        {
            **{(backbone, "hein"): UP for backbone in backbones[:4]},
            ("deepfm", "hein"): Difference(0.8, 0.82, 0.02, 0.01, 0.03, seed_error=0.001),
            ("dlrm", "hein"): DOWN,
        }
    )
    runs = [replace(report.experiment.runs[0], backbone=backbone) for backbone in backbones]
    runs.append(replace(runs[0], knowledge="hein"))
    report = replace(report, experiment=replace(report.experiment, runs=runs))
    slices = [PopularitySlice(name, "hein", COLD, 300, 50, UP) for name in backbones[:5]]
    slices.append(PopularitySlice("dlrm", "hein", COLD, 300, 50, OPEN))
    text = summary_text(report, slices)
    assert (
        "'hein' raises AUC for 5 of 6 backbones (+0.0120 to +0.0200); it lowers AUC for 1 of 6 "
        "backbones, dlrm (-0.0080)." in text
    )
    assert (
        "'hein' above zero for 5, below for 0 and not to be told from zero for 1 of 6 backbones"
        in text
    )


@pytest.mark.parametrize(
    ("adjusted_p", "stars", "text"),
    [
        (0.0004, "**", "<0.001"),
        (0.0099, "**", "0.010"),
        (0.01, "*", "0.010"),
        (0.0499, "*", "0.050"),
        (0.05, "", "0.050"),
        (1.0, "", "1.000"),
        (math.nan, "", "–"),
    ],
)
def test_marks_and_texts(adjusted_p: float, stars: str, text: str) -> None:
    difference = Difference(0.8, 0.81, 0.01, 0.005, 0.015, seed_error=0.001)
    comparison = Comparison("din", "hein", difference, adjusted_p)
    assert (mark(comparison), p_text(adjusted_p)) == (stars, text)


def test_a_difference_of_single_seeds_has_no_mark() -> None:
    difference = Difference(0.8, 0.81, 0.01, 0.005, 0.015, 0.0001)
    assert mark(Comparison("din", "hein", difference, 0.0001)) == ""
    report = helpful_report()
    single = [replace(one, difference=difference) for one in report.experiment.comparisons]
    note = marks_note(replace(report, experiment=replace(report.experiment, comparisons=single)))
    assert "over test users; seeds are not covered" in note
    assert note.endswith("Of single seeds no comparison is marked.")


def test_the_note_says_what_was_done() -> None:
    report = helpful_report()
    note = marks_note(report)
    assert "(200 resamples), after Holm’s correction for the 4 comparisons" in note
    assert "too" not in note and note.endswith("Intervals are not corrected.")
    one = replace(report.experiment, comparisons=report.experiment.comparisons[:1])
    assert "for the 1 comparison of" in marks_note(replace(report, experiment=one))
    none = replace(report.experiment, comparisons=[])
    assert marks_note(replace(report, experiment=none)) == ""


def test_the_note_says_when_there_can_be_no_mark() -> None:
    report = helpful_report()
    scenario = override_scenario(report.scenario, {"evaluation.bootstrap_resamples": 159})
    note = marks_note(replace(report, scenario=scenario))
    assert note.endswith("that takes evaluation.bootstrap_resamples=160 or more.")


def test_a_lift_over_nothing_is_no_number() -> None:
    assert lift_text(Difference(0.0, 0.1, 0.1, 0.05, 0.2)) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00123456, "0.001235"), (512, "512"), ([200, 80], "[200, 80]"), ("adam", "adam")],
)
def test_settings_are_shown_shortly(value: object, text: str) -> None:
    assert value_text(value) == text
