"""Marks of significance, after the correction for all comparisons of an experiment."""

from __future__ import annotations

import math

from trainer.experiments.comparing import (
    SIGNIFICANT,
    is_significant,
    resamples_needed,
    smallest_adjusted_p,
)
from trainer.experiments.results import Comparison
from trainer.report.inputs import ReportInputs

_MARKS = ((0.01, "**"), (SIGNIFICANT, "*"))


def mark(comparison: Comparison) -> str:
    """Two stars of p below 0.01, one below 0.05, none otherwise and where seeds do not count."""
    return next((text for limit, text in _MARKS if is_significant(comparison, limit)), "")


def p_text(adjusted_p: float) -> str:
    """A p-value with three decimals, or the bound that it is below."""
    if math.isnan(adjusted_p):
        return "–"
    return "<0.001" if adjusted_p < 0.001 else f"{adjusted_p:.3f}"


def marks_note(inputs: ReportInputs) -> str:
    """What the marks mean, and whether there can be any."""
    comparisons = len(inputs.comparisons)
    if not comparisons:
        return ""
    resamples = inputs.scenario.evaluation.bootstrap_resamples
    text = (
        f"p: two-sided, of a paired bootstrap over {covered_text(inputs)} ({resamples:,} "
        f"resamples), after Holm’s correction for the {comparisons} "
        f"{'comparison' if comparisons == 1 else 'comparisons'} of this experiment; ** below "
        "0.01, * below 0.05. Intervals are not corrected."
    )
    if not any(one.difference.covers_seeds for one in inputs.comparisons):
        return f"{text} Of single seeds no comparison is marked."
    if smallest_adjusted_p(inputs.scenario, comparisons) < SIGNIFICANT:
        return text
    return (
        f"{text} With so few resamples no comparison can be marked: that takes "
        f"evaluation.bootstrap_resamples={resamples_needed(comparisons)} or more."
    )


def covered_text(inputs: ReportInputs) -> str:
    """What intervals and p-values of an experiment cover."""
    covered = {one.difference.covers_seeds for one in inputs.comparisons}
    if covered == {True} or (not covered and len({run.seed for run in inputs.experiment.runs}) > 1):
        return "test users and training seeds"
    return "test users; seeds are not covered"
