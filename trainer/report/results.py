"""results.json: the figures of a report for programs; and the rankings that a report shows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.loading import ConfigurationError
from trainer.experiments.grid import experiment_arms
from trainer.experiments.results import CellTuning, Comparison, RunResult
from trainer.experiments.running import SIGNIFICANT, is_significant, smallest_adjusted_p
from trainer.metrics import AnyMetrics, RankedLists
from trainer.predictions import SamplePredictions
from trainer.report.inputs import PipelineStep, ReportInputs
from trainer.report.protocol import cautions, unverified_sources
from trainer.report.sentences import covered_text
from trainer.report.statistics import CellResult, PopularitySlice
from trainer.significance import Difference
from trainer.tuning import Trial

SHOWN_USERS = 5
SHOWN_ITEMS = 6
_FEWEST_ITEMS = 10
_SEED = 0


@dataclass(frozen=True)
class RankedItem:
    """An item at its place.

    Attributes:
      name: its title, or its id where it has none.
      liked: whether the user's label is 1.
      place: from 1.
      place_without: in the ranking without knowledge, from 1.
    """

    name: str
    liked: bool
    place: int
    place_without: int


@dataclass(frozen=True)
class UserRankings:
    """A user's items in the order of two models.

    Attributes:
      items: of the test part, all of which are ranked.
      liked: how many of them have label 1.
      without: the first items of the baseline's ranking.
      with_knowledge: those of the other.
      auc_without: of the user's ranking.
      auc_with: likewise.
    """

    items: int
    liked: int
    without: tuple[RankedItem, ...]
    with_knowledge: tuple[RankedItem, ...]
    auc_without: float
    auc_with: float


@dataclass(frozen=True)
class ExampleRankings:
    """Rankings of users who were drawn by lot.

    Attributes:
      backbone: of both models.
      baseline: arm of the model without knowledge.
      arm: of the other, best on validation.
      seed: training seed of both.
      users: those drawn.
      drawn_from: users with enough items and both labels.
      share_better: of these, the share whose AUC is higher with knowledge.
      share_worse: lower.
    """

    backbone: str
    baseline: str
    arm: str
    seed: int
    users: tuple[UserRankings, ...]
    drawn_from: int
    share_better: float
    share_worse: float


def example_rankings(inputs: ReportInputs) -> ExampleRankings | None:
    """Rankings of up to `SHOWN_USERS` test users, by the first backbone without and with knowledge.

    The arm and its seed are best on validation. Users are drawn by lot among those with at least
    `_FEWEST_ITEMS` test samples of both labels; results have no say in who is shown.

    Returns:
      The rankings; None where the models rank no samples, nothing is compared, or no user has
      enough.
    """
    backbone = inputs.backbones[0]
    try:
        best = inputs.experiment.best_run(backbone)
    except ConfigurationError:
        return None
    runs = inputs.experiment.runs_of(backbone, inputs.baseline)
    baseline = next((run for run in runs if run.seed == best.seed), None)
    if baseline is None:
        return None
    without, with_knowledge = baseline.predictions, best.predictions
    if not isinstance(without, SamplePredictions) or not isinstance(
        with_knowledge, SamplePredictions
    ):
        return None
    _, users = np.unique(without.user_ids.astype(str), return_inverse=True)
    ranked = RankedLists(users, without.labels, without.scores)
    auc_without = ranked.auc()
    auc_with = RankedLists(users, without.labels, with_knowledge.scores).auc()
    eligible = np.flatnonzero(ranked.has_both_classes & (ranked.sizes >= _FEWEST_ITEMS))
    if not len(eligible):
        return None
    drawn = eligible[np.random.default_rng(_SEED).permutation(len(eligible))[:SHOWN_USERS]]
    return ExampleRankings(
        backbone=backbone,
        baseline=inputs.baseline,
        arm=best.knowledge,
        seed=best.seed,
        users=tuple(
            UserRankings(
                items=int(ranked.sizes[user]),
                liked=int(ranked.positives[user]),
                **_rankings(without, with_knowledge, np.flatnonzero(users == user), inputs.titles),
                auc_without=float(auc_without[user]),
                auc_with=float(auc_with[user]),
            )
            for user in drawn
        ),
        drawn_from=len(eligible),
        share_better=float(np.mean((auc_with > auc_without)[eligible])),
        share_worse=float(np.mean((auc_with < auc_without)[eligible])),
    )


def _rankings(
    without: SamplePredictions,
    with_knowledge: SamplePredictions,
    rows: np.ndarray,
    titles: Mapping[str, str],
) -> dict[str, tuple[RankedItem, ...]]:
    """The first items of both rankings of a user, by field of `UserRankings`."""
    labels = without.labels[rows]
    orders = {
        "without": np.argsort(-without.scores[rows], kind="stable"),
        "with_knowledge": np.argsort(-with_knowledge.scores[rows], kind="stable"),
    }
    place_without = np.empty(len(rows), np.int64)
    place_without[orders["without"]] = np.arange(1, len(rows) + 1)
    items = [str(item) for item in without.item_ids[rows]]
    return {
        name: tuple(
            RankedItem(
                name=titles.get(items[row], items[row]),
                liked=bool(labels[row]),
                place=place,
                place_without=int(place_without[row]),
            )
            for place, row in enumerate(order[:SHOWN_ITEMS], start=1)
        )
        for name, order in orders.items()
    }


def results_document(
    inputs: ReportInputs, cells: Sequence[CellResult], slices: Sequence[PopularitySlice]
) -> dict[str, Any]:
    """The content of results.json, of plain Python numbers and texts: all tables and plots.

    Runs and learning curves are ordered by backbone, knowledge and seed, models and comparisons by
    backbone and knowledge, all in the order of the experiment. A popularity slice with too few
    samples has null figures, as has everything else that has no value.
    """
    runs = _ordered_runs(inputs)
    return {
        "scenario": inputs.scenario.name,
        "made_at": inputs.made_at,
        "machine": inputs.machine,
        "versions": inputs.versions,
        "command": inputs.command,
        "kind": inputs.experiment.kind.name,
        "metric": inputs.experiment.metric,
        "baseline": inputs.baseline,
        "seeds": list(inputs.scenario.experiment.seeds),
        "arms": {
            name: {"description": arm.description, "overrides": dict(arm.overrides)}
            for name, arm in experiment_arms(inputs.scenario).items()
        },
        "runs": [_run(inputs, run) for run in runs],
        "models": [_model(cell) for cell in cells],
        "comparisons": [
            {
                "backbone": comparison.backbone,
                "knowledge": comparison.knowledge,
                **_comparison(inputs.experiment.metric, comparison),
            }
            for comparison in inputs.comparisons
        ],
        "significance": {
            "p_value": f"two-sided, paired bootstrap over {covered_text(inputs)}",
            "correction": "Holm, over all comparisons of the experiment",
            "comparisons": len(inputs.comparisons),
            "resamples": inputs.scenario.evaluation.bootstrap_resamples,
            "level": SIGNIFICANT,
            "smallest_adjusted_p": smallest_adjusted_p(inputs.scenario, len(inputs.comparisons)),
        },
        "tuning": {
            **inputs.scenario.experiment.search_of(inputs.baseline).model_dump(mode="json"),
            "of": "baseline" if inputs.scenario.experiment.tune_baseline.trials else "every cell",
            "cells": [_tuned(tuned) for tuned in inputs.tuning],
        },
        "warnings": cautions(inputs),
        "failures": [dataclasses.asdict(failure) for failure in inputs.experiment.failures],
        "learning_curves": [
            {
                "backbone": run.backbone,
                "knowledge": run.knowledge,
                "seed": int(run.seed),
                "epochs": [
                    {
                        **{name: float(value) for name, value in row.items()},
                        "epoch": int(row["epoch"]),
                    }
                    for row in run.history
                ],
            }
            for run in runs
        ],
        "popularity_slices": [
            {
                "backbone": each.backbone,
                "knowledge": each.knowledge,
                "training_interactions": each.bucket.name,
                "samples": each.samples,
                "users": each.users,
                **_auc_difference(each.difference),
            }
            for each in slices
        ],
        "gates": {
            cell: {
                source: [float(weight) for weight in weights]
                for source, weights in each.by_source.items()
            }
            for cell, each in inputs.gates.items()
        },
        "gate_models": {
            cell: {
                "seed": int(each.seed),
                "num_shared_experts": int(each.num_shared_experts),
            }
            for cell, each in inputs.gates.items()
        },
        "leak_violations": int(inputs.leak["leak_violations"]),
        "leak_check": {
            "users_verified_by_prompt": int(inputs.leak["leak_check"]["users_verified_by_prompt"]),
            "users_by_rule_only": int(inputs.leak["leak_check"]["users_by_rule_only"]),
            "unverified_sources": unverified_sources(inputs),
        },
        "served_max_abs_difference": None
        if inputs.served_max_abs_difference is None
        else float(inputs.served_max_abs_difference),
        "steps": [_step(step) for step in inputs.steps],
    }


def _ordered_runs(inputs: ReportInputs) -> list[RunResult]:
    return [
        run
        for backbone in inputs.backbones
        for knowledge in inputs.arms
        for run in sorted(inputs.experiment.runs_of(backbone, knowledge), key=lambda run: run.seed)
    ]


def _run(inputs: ReportInputs, run: RunResult) -> dict[str, object]:
    return {
        "backbone": run.backbone,
        "knowledge": run.knowledge,
        "seed": int(run.seed),
        "validation": _metrics(run.validation),
        "test": _metrics(run.test),
        "train_seconds": float(run.train_seconds),
        "epochs": int(run.epochs),
        "undertrained": run.undertrained,
        "selection_metric": run.selection_metric,
        "trainable_weights": int(run.trainable_weights),
        "settings": dict(inputs.experiment.settings_of(run.backbone, run.knowledge)),
        "folder": str(run.folder),
    }


def _metrics(metrics: AnyMetrics) -> dict[str, Any]:
    return {
        name: _metrics(value) if isinstance(value, Mapping) else _number(value)
        for name, value in metrics.items()
    }


def _model(cell: CellResult) -> dict[str, object]:
    return {
        "backbone": cell.backbone,
        "knowledge": cell.knowledge,
        **{name: _number(value) for name, value in cell.means.items()},
        f"{cell.metric}_ci_low": _number(cell.low),
        f"{cell.metric}_ci_high": _number(cell.high),
        f"{cell.metric}_by_seed": [float(value) for value in cell.seed_values],
        f"{cell.metric}_seed_deviation": cell.seed_deviation,
        "train_seconds": cell.train_seconds,
        "epochs": cell.epochs,
        "trainable_weights": int(cell.trainable_weights),
    }


def _comparison(metric: str, comparison: Comparison) -> dict[str, object]:
    """Under general names and, as slices have it, under those of AUC where that is the metric."""
    difference = comparison.difference
    general = {
        "metric": metric,
        "baseline_value": _number(difference.baseline),
        "arm_value": _number(difference.candidate),
        "difference": _number(difference.difference),
        "ci_low": _number(difference.low),
        "ci_high": _number(difference.high),
        "relative_lift": _number(difference.relative_lift),
        "p_value": _number(difference.p_value),
        "p_value_holm": _number(comparison.adjusted_p),
        "significant": bool(is_significant(comparison)),
        "covers_seeds": difference.covers_seeds,
        "seed_standard_error": _number(difference.seed_error),
    }
    return {**(_auc_difference(difference) if metric == "auc" else {}), **general}


def _auc_difference(difference: Difference | None) -> Mapping[str, float | None]:
    names = (
        "auc_none",
        "auc_knowledge",
        "auc_difference",
        "ci_low",
        "ci_high",
        "relative_lift",
    )
    if difference is None:
        return dict.fromkeys(names)
    values = (
        difference.baseline,
        difference.candidate,
        difference.difference,
        difference.low,
        difference.high,
        difference.relative_lift,
    )
    return {name: _number(value) for name, value in zip(names, values, strict=True)}


def _tuned(tuned: CellTuning) -> dict[str, object]:
    return {
        "backbone": tuned.backbone,
        "knowledge": tuned.knowledge,
        "metric": tuned.metric,
        "settings": dict(tuned.settings),
        "trials": [_trial(trial) for trial in tuned.trials],
    }


def _trial(trial: Trial) -> dict[str, object]:
    return {
        "trial": trial.number,
        "settings": dict(trial.settings),
        "state": trial.state,
        "validation": trial.value,
        "seconds": float(trial.seconds),
        "reason": trial.reason,
    }


def _number(value: float) -> float | int | None:
    """A plain number; None where it is not finite."""
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if math.isfinite(value) else None


def _step(step: PipelineStep) -> dict[str, object]:
    return {
        "name": step["name"],
        "seconds": float(step["seconds"]),
        "records_in": int(step["records_in"]),
        "records_out": int(step["records_out"]),
        "dead_letters": int(step["dead_letters"]),
        "history_only": int(step.get("history_only", 0)),
        "reused": int(step.get("reused", 0)),
        "skipped": bool(step.get("skipped", False)),
    }
