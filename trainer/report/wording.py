"""Sentences that say what the figures say, whichever way they point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from trainer.bootstrap import Difference
from trainer.experiment import BASELINE, Comparison
from trainer.report.inputs import ReportInputs
from trainer.report.slices import COLD, PopularitySlice
from trainer.report.table import difference_text, lift_text

_OfArm = TypeVar("_OfArm", Comparison, PopularitySlice)

_VERBS = {
    "raises": "raises AUC for",
    "lowers": "lowers AUC for",
    "unclear": "makes no difference that this test part can tell from zero for",
}


def verdict(difference: Difference) -> str:
    """What an interval allows to say: "raises", "lowers", or "unclear" when it covers zero."""
    if difference.low > 0:
        return "raises"
    if difference.high < 0:
        return "lowers"
    return "unclear"


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
        _headline(inputs.comparisons),
        *_arm_sentences(inputs.comparisons),
        *_cold_sentences(slices),
        f"{means} on {len(test.labels):,} test samples of {len(set(test.user_ids)):,} users; "
        "square brackets hold 95 % bootstrap intervals of the AUC difference.",
    ]
    return " ".join(sentences)


def _leak_warning(violations: int) -> list[str]:
    if violations == 0:
        return []
    return [f"Do not use these results: the LLM saw {violations:,} of the samples (leak rule)."]


def _headline(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return f"Only the arm '{BASELINE}' was run, so there is nothing to compare."
    backbones = {comparison.backbone for comparison in comparisons}
    winners: dict[str, set[str]] = {}
    for comparison in comparisons:
        if verdict(comparison.difference) == "raises":
            winners.setdefault(comparison.knowledge, set()).add(comparison.backbone)
    everywhere = [f"'{arm}'" for arm, found in winners.items() if found == backbones]
    if everywhere:
        on = "every backbone tried" if len(backbones) > 1 else f"{next(iter(backbones))}"
        return f"Knowledge used as {_listed(everywhere)} raises test AUC on {on}."
    if winners:
        return "Knowledge raises test AUC on some backbones only, depending on how it is used."
    if all(verdict(comparison.difference) == "lowers" for comparison in comparisons):
        return "Knowledge lowers test AUC in every comparison: on this data it does harm."
    return "No arm with knowledge raises test AUC: no interval of the difference lies above zero."


def _arm_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    sentences = []
    for arm, of_arm in _by_arm(comparisons).items():
        by_verdict: dict[str, list[str]] = {}
        for comparison in of_arm:
            by_verdict.setdefault(verdict(comparison.difference), []).append(
                f"{comparison.backbone} ({_change_text(comparison.difference)})"
            )
        clauses = [
            f"{verb} {_listed(by_verdict[kind])}"
            for kind, verb in _VERBS.items()
            if kind in by_verdict
        ]
        sentences.append(f"Compared with '{BASELINE}', '{arm}' {'; it '.join(clauses)}.")
    return sentences


def _cold_sentences(slices: Sequence[PopularitySlice]) -> list[str]:
    cold = [found for found in slices if found.bucket == COLD]
    if not cold:
        return []
    samples = f"{cold[0].samples:,} test samples"
    if all(found.difference is None for found in cold):
        return [
            f"Items without a training interaction have too few test samples to judge ({samples})."
        ]
    texts = []
    for arm, of_arm in _by_arm(cold).items():
        effects = [
            f"{found.backbone} {difference_text(found.difference)}"
            + (" (covers zero)" if verdict(found.difference) == "unclear" else "")
            for found in of_arm
            if found.difference is not None
        ]
        texts.append(f"'{arm}' {_listed(effects)}")
    return [
        f"On items without a training interaction ({samples}) the AUC differences are: "
        f"{'; '.join(texts)}."
    ]


def _by_arm(found: Sequence[_OfArm]) -> dict[str, list[_OfArm]]:
    groups: dict[str, list[_OfArm]] = {}
    for one in found:
        groups.setdefault(one.knowledge, []).append(one)
    return groups


def _change_text(difference: Difference) -> str:
    return (
        f"{difference.baseline:.4f} to {difference.candidate:.4f}, "
        f"{lift_text(difference)}, {difference_text(difference)}"
    )


def _listed(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
