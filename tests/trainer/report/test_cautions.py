from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tests.trainer.report.synthetic import helpful_report
from trainer.experiments.results import Comparison
from trainer.report.inputs import ReportInputs
from trainer.report.protocol import cautions
from trainer.report.results import results_document
from trainer.significance import Difference

CLEAR = Difference(0.8, 0.82, 0.02, 0.015, 0.025, 0.001, seed_error=0.001)
NONE: Mapping[str, str] = {}
SCATTERED = Difference(0.8, 0.82, 0.02, -0.01, 0.05, 0.2, seed_error=0.011)


def report_of(
    *differences: Difference, unverified: Sequence[str] = (), declared: Mapping[str, str] = NONE
) -> ReportInputs:
    check = {"unverified_sources": unverified, "declared_sources": declared}
    report = helpful_report()
    compared = [Comparison("din", "hein", one, 0.01) for one in differences]
    leak = {"leak_violations": 0, "leak_check": {**report.leak["leak_check"], **check}}
    experiment = replace(report.experiment, comparisons=compared)
    return replace(report, experiment=experiment, leak=leak)


def test_clear_differences_need_no_caution() -> None:
    assert cautions(report_of(CLEAR)) == []
    assert cautions(report_of()) == []


def test_a_single_seed_is_a_caution() -> None:
    (text,) = cautions(report_of(CLEAR, replace(CLEAR, seed_error=math.nan)))
    assert text.startswith("Seeds are not covered")


def test_scattered_seeds_say_how_to_train_five() -> None:
    (text,) = cautions(report_of(SCATTERED, CLEAR))
    assert "of din 'hein' is less than two standard errors of its seeds" in text
    assert "experiment.seeds=[1,2,3,4,5]" in text


def test_runs_that_were_not_trained_to_their_end_are_named() -> None:
    report = report_of(CLEAR)
    runs = [
        replace(run, undertrained=run.knowledge == "none" and run.seed < 3)
        for run in report.experiment.runs
    ]
    report = replace(report, experiment=replace(report.experiment, runs=runs))
    (text,) = cautions(report)
    assert "din 'none' (2 of 3 runs), dcnv2 'none' (2 of 3 runs)" in text
    assert "experiment.tune_baseline" in text
    assert results_document(report, [], [])["warnings"] == [text]


def test_many_models_are_counted() -> None:
    report = report_of(CLEAR)
    runs = [replace(run, undertrained=True) for run in report.experiment.runs]
    (text,) = cautions(replace(report, experiment=replace(report.experiment, runs=runs)))
    assert "6 of 6 models, in the arms none, hein, hein_match." in text


def test_sources_that_arms_read_are_named_when_nothing_shows_what_the_llm_saw() -> None:
    report = report_of(CLEAR, unverified=["item", "nobody_reads"], declared={"user": "training"})
    unverified, declared = cautions(report)
    assert unverified.startswith("unverified sources: item: nothing shows")
    assert declared.startswith("sources declared to be made from the training part: user:")
    assert cautions(report_of(CLEAR, unverified=["nobody_reads"])) == []
