"""What has to be known before the figures of an experiment are believed."""

from __future__ import annotations

from collections.abc import Sequence

from preprocessing.records.leak_rule import leak_cautions
from trainer.experiments.results import Comparison
from trainer.report.inputs import ReportInputs
from trainer.report.leak_text import leak_rules_of_report

_ENOUGH_SEEDS = 5
_LISTED = 4


def cautions(inputs: ReportInputs) -> list[str]:
    """Sentences for results.json (`warnings`), results.md and the page; none if all is well."""
    return [
        *_training_cautions(inputs),
        *_seed_cautions(inputs),
        *leak_cautions(leak_rules_of_report(inputs)),
    ]


def _training_cautions(inputs: ReportInputs) -> list[str]:
    cells = {
        (backbone, arm): [run.undertrained for run in inputs.experiment.runs_of(backbone, arm)]
        for backbone in inputs.backbones
        for arm in inputs.arms
    }
    found = [
        f"{backbone} '{arm}' ({sum(flags)} of {len(flags)} runs)"
        for (backbone, arm), flags in cells.items()
        if any(flags)
    ]
    if not found:
        return []
    if len(found) > _LISTED:
        arms = dict.fromkeys(arm for (_, arm), flags in cells.items() if any(flags))
        found = [f"{len(found)} of {len(cells)} models, in the arms {', '.join(arms)}"]
    return [
        "Validation still rose when training.epochs ended the training of "
        f"{', '.join(found)}. A baseline that is not trained to its end flatters what is compared "
        "with it: raise training.epochs, or search the baseline's settings first "
        "(experiment.tune_baseline)."
    ]


def _seed_cautions(inputs: ReportInputs) -> list[str]:
    comparisons = inputs.comparisons
    if not comparisons:
        return []
    if not all(one.difference.covers_seeds for one in comparisons):
        return [
            "Seeds are not covered: with one seed per model, intervals and p-values are about "
            "other test users only, and nothing is marked as significant. Train three seeds or "
            "more (experiment.seeds)."
        ]
    seeds = sorted({run.seed for run in inputs.experiment.runs})
    scattered = [one for one in comparisons if one.difference.seeds_scatter]
    if not scattered or len(seeds) >= _ENOUGH_SEEDS:
        return []
    more = range(max(seeds) + 1, max(seeds) + 1 + _ENOUGH_SEEDS - len(seeds))
    return [
        f"Seeds scatter: the difference of {_named(scattered, len(comparisons))} is less than two "
        f"standard errors of its seeds. Five seeds for all arms tell more: experiment.seeds="
        f"[{','.join(map(str, [*seeds, *more]))}]; runs that are there are used again."
    ]


def _named(found: Sequence[Comparison], of_how_many: int) -> str:
    if len(found) > _LISTED:
        return f"{len(found)} of {of_how_many} comparisons"
    return ", ".join(f"{one.backbone} '{one.knowledge}'" for one in found)
