"""Marks of significance, after the correction for all comparisons of an experiment."""

from __future__ import annotations

import math

from trainer.experiments.comparing import SIGNIFICANT, resamples_needed, smallest_adjusted_p
from trainer.report.inputs import ReportInputs

_MARKS = ((0.01, "**"), (SIGNIFICANT, "*"))


def mark(adjusted_p: float) -> str:
    """Two stars below 0.01, one below 0.05, none otherwise and where there is no p-value."""
    return next((text for limit, text in _MARKS if adjusted_p < limit), "")


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
        f"p: two-sided, of a paired bootstrap over test users ({resamples:,} resamples), after "
        f"Holm’s correction for the {comparisons} "
        f"{'comparison' if comparisons == 1 else 'comparisons'} of this experiment; ** below "
        "0.01, * below 0.05. Intervals are not corrected."
    )
    if smallest_adjusted_p(inputs.scenario, comparisons) < SIGNIFICANT:
        return text
    return (
        f"{text} With so few resamples no comparison can be marked: that takes "
        f"evaluation.bootstrap_resamples={resamples_needed(comparisons)} or more."
    )
