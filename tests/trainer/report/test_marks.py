from __future__ import annotations

import math
from dataclasses import replace

import pytest

from configs.loading import override_scenario
from tests.trainer.report.synthetic import helpful_report
from trainer.experiments.results import Comparison
from trainer.report.table import mark, marks_note, p_text
from trainer.significance import Difference


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
