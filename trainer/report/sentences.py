"""Sentences that say what the figures say, whichever way they point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from trainer.evaluation.reports import NOTHING
from trainer.experiments.results import CellFailure, Comparison
from trainer.experiments.running import (
    SIGNIFICANT,
    is_significant,
    resamples_needed,
    smallest_adjusted_p,
)
from trainer.report.inputs import ReportInputs
from trainer.report.statistics import COLD, PopularitySlice
from trainer.significance import FEWEST_USERS, Difference

_ArmResult = TypeVar("_ArmResult", Comparison, PopularitySlice)

_LISTED = 4
"""Backbones that a sentence names one by one."""

_VERBS = {
    "raises": "raises {metric} for",
    "lowers": "lowers {metric} for",
    "uncertain": "has an interval beside zero, which the correction for {count} comparisons does "
    "not confirm, for",
    "one_seed": "has an interval beside zero that does not cover other seeds, and so shows "
    "nothing, for",
    "unclear": "makes no difference that this test part can tell from zero for",
}


def verdict(difference: Difference) -> str:
    """What an interval allows to say: "raises", "lowers", or "unclear" when it covers zero."""
    if difference.low > 0:
        return "raises"
    if difference.high < 0:
        return "lowers"
    return "unclear"


def judgement(comparison: Comparison) -> str:
    """What an experiment allows to say.

    `verdict`; "one_seed" where an interval beside zero says nothing of other seeds, "uncertain"
    where Holm's p is too large.
    """
    word = verdict(comparison.difference)
    if word == "unclear" or is_significant(comparison):
        return word
    return "uncertain" if comparison.difference.covers_seeds else "one_seed"


def headlines(inputs: ReportInputs, slices: Sequence[PopularitySlice]) -> list[str]:
    """What to quote, in three lines at most: the gain, that on new items, and what it rests on.

    They are of the arm that is best on validation.
    """
    test = inputs.experiment.runs[0].predictions
    warnings = [
        *_leak_warning(inputs.leak["leak_violations"]),
        *_failure_warning(inputs.experiment.failures),
    ]
    if not inputs.comparisons:
        return [*warnings, _headline(inputs)]
    arm = inputs.experiment.best_run(inputs.comparisons[0].backbone).knowledge
    compared = [one for one in inputs.comparisons if one.knowledge == arm]
    cold = [
        (one.backbone, one.difference)
        for one in slices
        if one.bucket == COLD and one.knowledge == arm and one.difference is not None
    ]
    lines = [
        f"{inputs.metric_name} of the test part, '{arm}' against '{inputs.baseline}': "
        f"{_gains_text([(one.backbone, one.difference) for one in compared])}."
    ]
    if cold:
        samples = next(one.samples for one in slices if one.bucket == COLD)
        lines.append(
            f"AUC on items without a training interaction ({samples:,} samples): "
            f"{_gains_text(cold)}."
        )
    seeds = len({run.seed for run in inputs.experiment.runs})
    lines.append(
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, {test.count:,} test {test.examples_name} of "
        f"{len(set(test.user_ids)):,} users; "
        + ("95 % intervals" if _has_intervals(inputs) else "no intervals")
        + f" over {covered_text(inputs)}."
    )
    return [*warnings, *lines]


def _gains_text(differences: Sequence[tuple[str, Difference]]) -> str:
    if len(differences) > _LISTED:
        gains = sorted(difference.difference for _, difference in differences)
        above = sum(difference.low > 0 for _, difference in differences)
        return (
            f"{gains[0]:+.4f} to {gains[-1]:+.4f}, with an interval above zero for {above} of "
            f"{len(gains)} backbones"
        )
    return _listed(
        [
            f"{backbone} {each.baseline:.4f} to {each.candidate:.4f} "
            f"({lift_text(each)}, difference {_interval_text(each)})"
            for backbone, each in differences
        ]
    )


def summary_text(inputs: ReportInputs, slices: Sequence[PopularitySlice]) -> str:
    """One paragraph: the headline, every arm's effect, and what happens on cold items."""
    test = inputs.experiment.runs[0].predictions
    seeds = {run.seed for run in inputs.experiment.runs}
    means = (
        "Figures are of one seed"
        if len(seeds) == 1
        else f"Figures are means over {len(seeds)} seeds"
    )
    sentences = [
        *_leak_warning(inputs.leak["leak_violations"]),
        *_failure_warning(inputs.experiment.failures),
        _headline(inputs),
        *_arm_sentences(inputs),
        *_cold_sentences(slices),
        f"{means} on {test.count:,} test {test.examples_name} of {len(set(test.user_ids)):,} "
        + (
            f"users; square brackets hold 95 % bootstrap intervals of the {inputs.metric_name} "
            f"difference, over {covered_text(inputs)}."
            if _has_intervals(inputs)
            else "users."
        ),
    ]
    return " ".join(sentences)


def _has_intervals(inputs: ReportInputs) -> bool:
    return not all(math.isnan(one.difference.low) for one in inputs.comparisons)


def _leak_warning(violations: int) -> list[str]:
    if violations == 0:
        return []
    return [f"Do not use these results: the LLM saw {violations:,} of the samples (leak rule)."]


def _failure_warning(failures: Sequence[CellFailure]) -> list[str]:
    if not failures:
        return []
    cells = dict.fromkeys(f"{failure.backbone} {failure.knowledge}" for failure in failures)
    return [f"Not everything could be trained; left out: {_listed(list(cells))}."]


def _headline(inputs: ReportInputs) -> str:
    comparisons, metric = inputs.comparisons, inputs.metric_name
    if inputs.baseline not in inputs.arms:
        return f"No run of the baseline '{inputs.baseline}' is there, so nothing is compared."
    if not comparisons:
        return f"Only the arm '{inputs.baseline}' was run, so there is nothing to compare."
    if not _has_intervals(inputs):
        return (
            f"The test part cannot judge any difference of {metric}: too few users for an interval "
            f"(at least {FEWEST_USERS}), or too few with samples of both classes."
        )
    backbones = {comparison.backbone for comparison in comparisons}
    winners: dict[str, set[str]] = {}
    for comparison in comparisons:
        if judgement(comparison) == "raises":
            winners.setdefault(comparison.knowledge, set()).add(comparison.backbone)
    everywhere = [
        f"'{arm}'" for arm, won_backbones in winners.items() if won_backbones == backbones
    ]
    if everywhere:
        on = "every backbone tried" if len(backbones) > 1 else f"{next(iter(backbones))}"
        return f"Knowledge used as {_listed(everywhere)} raises test {metric} on {on}."
    if winners:
        return (
            f"Knowledge raises test {metric} on some backbones only, depending on how it is used."
        )
    if all(judgement(comparison) == "lowers" for comparison in comparisons):
        return f"Knowledge lowers test {metric} in every comparison: on this data it does harm."
    if any(judgement(comparison) == "one_seed" for comparison in comparisons):
        return (
            f"One seed per model shows no effect on test {metric}: another seed of the same model "
            "may differ as much. Train three seeds or more (experiment.seeds)."
        )
    if any(judgement(comparison) == "uncertain" for comparison in comparisons):
        if smallest_adjusted_p(inputs.scenario, len(comparisons)) >= SIGNIFICANT:
            return (
                f"{inputs.scenario.evaluation.bootstrap_resamples:,} bootstrap resamples are too "
                f"few to judge {len(comparisons)} comparisons."
            )
        return (
            f"No arm raises test {metric} beyond what {len(comparisons)} comparisons may show by "
            "chance."
        )
    return f"No arm with knowledge raises test {metric}: no interval lies above zero."


def _arm_sentences(inputs: ReportInputs) -> list[str]:
    comparisons = inputs.comparisons
    sentences = []
    for arm, arm_comparisons in _by_arm(comparisons).items():
        by_judgement: dict[str, list[Comparison]] = {}
        for comparison in arm_comparisons:
            by_judgement.setdefault(judgement(comparison), []).append(comparison)
        clauses = [
            f"{verb.format(metric=inputs.metric_name, count=len(comparisons))} "
            f"{_backbones_text(by_judgement[kind], len(arm_comparisons))}"
            for kind, verb in _VERBS.items()
            if kind in by_judgement
        ]
        sentences.append(f"Compared with '{inputs.baseline}', '{arm}' {'; it '.join(clauses)}.")
    return sentences


def _backbones_text(comparisons: Sequence[Comparison], total: int) -> str:
    """Every backbone with its change, or how many they are, where that would be too long."""
    if total <= _LISTED:
        return _listed(
            [f"{one.backbone} ({_change_text(one.difference)})" for one in comparisons],
        )
    names = (
        f", {_listed([one.backbone for one in comparisons])}" if len(comparisons) <= _LISTED else ""
    )
    changes = [
        f"{change:+.4f}" for change in sorted(one.difference.difference for one in comparisons)
    ]
    ends = " to ".join(dict.fromkeys([changes[0], changes[-1]]))
    return f"{len(comparisons)} of {total} backbones{names} ({ends})"


def _cold_sentences(slices: Sequence[PopularitySlice]) -> list[str]:
    cold = [each for each in slices if each.bucket == COLD]
    if not cold:
        return []
    samples = f"{cold[0].samples:,} test samples"
    if all(each.difference is None for each in cold):
        return [
            f"Items without a training interaction have too few test samples to judge ({samples})."
        ]
    texts = [f"'{arm}' {_cold_text(arm_slices)}" for arm, arm_slices in _by_arm(cold).items()]
    return [
        f"On items without a training interaction ({samples}) the AUC differences are: "
        f"{'; '.join(texts)}."
    ]


def _cold_text(arm_slices: Sequence[PopularitySlice]) -> str:
    differences = [
        (one.backbone, one.difference) for one in arm_slices if one.difference is not None
    ]
    if len(differences) <= _LISTED:
        return _listed(
            [
                f"{backbone} {difference_text(difference)}"
                + (" (covers zero)" if verdict(difference) == "unclear" else "")
                for backbone, difference in differences
            ]
        )
    verdicts = [verdict(difference) for _, difference in differences]
    return (
        f"above zero for {verdicts.count('raises')}, below for {verdicts.count('lowers')} and not "
        f"to be told from zero for {verdicts.count('unclear')} of {len(differences)} backbones"
    )


def _by_arm(results: Sequence[_ArmResult]) -> dict[str, list[_ArmResult]]:
    groups: dict[str, list[_ArmResult]] = {}
    for one in results:
        groups.setdefault(one.knowledge, []).append(one)
    return groups


def _change_text(difference: Difference) -> str:
    return (
        f"{difference.baseline:.4f} to {difference.candidate:.4f}, "
        f"{lift_text(difference)}, {difference_text(difference)}"
    )


def _listed(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


_MARKS = ((0.01, "**"), (SIGNIFICANT, "*"))


def mark(comparison: Comparison) -> str:
    """Two stars of p below 0.01, one below 0.05, none otherwise and where seeds do not count."""
    return next((text for limit, text in _MARKS if is_significant(comparison, limit)), "")


def p_text(adjusted_p: float) -> str:
    """A p-value with three decimals, or the bound that it is below."""
    if math.isnan(adjusted_p):
        return NOTHING
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


def value_text(value: object) -> str:
    """A setting's value."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def difference_text(difference: Difference) -> str:
    """Difference and interval, e.g. "+0.0119 [+0.0101, +0.0137]"."""
    return f"{difference.difference:+.4f} {_interval_text(difference)}"


def _interval_text(difference: Difference) -> str:
    if math.isnan(difference.low):
        return "[no interval]"
    return f"[{difference.low:+.4f}, {difference.high:+.4f}]"


def lift_text(difference: Difference) -> str:
    """Relative lift in percent, e.g. "+1.50 %"; nothing where the baseline is 0."""
    lift = difference.relative_lift
    return NOTHING if math.isnan(lift) else f"{100 * lift:+.2f} %"
