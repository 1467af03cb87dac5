"""results.json: the figures of a report for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.bootstrap import Difference
from trainer.experiment import RunResult
from trainer.metrics import Metrics
from trainer.report.cells import Cell
from trainer.report.inputs import PipelineStep, ReportInputs
from trainer.report.slices import PopularitySlice


def results_document(
    inputs: ReportInputs, cells: Sequence[Cell], slices: Sequence[PopularitySlice]
) -> dict[str, object]:
    """The content of results.json, of plain Python numbers and texts: all tables and plots.

    Runs and learning curves are ordered by backbone, knowledge and seed, models and comparisons by
    backbone and knowledge, all in the order of the experiment. A popularity slice with too few
    samples has null figures.
    """
    runs = _ordered_runs(inputs)
    return {
        "scenario": inputs.scenario.name,
        "made_at": inputs.made_at,
        "machine": inputs.machine,
        "command": inputs.command,
        "arms": {
            name: {"description": arm.description, "overrides": dict(arm.overrides)}
            for name, arm in inputs.scenario.experiment.arms.items()
        },
        "runs": [
            {
                "backbone": run.backbone,
                "knowledge": run.knowledge,
                "seed": int(run.seed),
                "validation": _metrics(run.validation),
                "test": _metrics(run.test),
                "train_seconds": float(run.train_seconds),
                "epochs": int(run.epochs),
            }
            for run in runs
        ],
        "models": [
            {
                "backbone": cell.backbone,
                "knowledge": cell.knowledge,
                "auc": float(cell.auc),
                "auc_ci_low": float(cell.auc_low),
                "auc_ci_high": float(cell.auc_high),
                "logloss": float(cell.logloss),
                "gauc": float(cell.gauc),
            }
            for cell in cells
        ],
        "comparisons": [
            {
                "backbone": comparison.backbone,
                "knowledge": comparison.knowledge,
                **_difference(comparison.difference),
            }
            for comparison in inputs.comparisons
        ],
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
                "backbone": found.backbone,
                "knowledge": found.knowledge,
                "training_interactions": found.bucket.name,
                "samples": found.samples,
                "users": found.users,
                **_difference(found.difference),
            }
            for found in slices
        ],
        "gates": {
            cell: {
                source: [float(weight) for weight in weights]
                for source, weights in found.by_source.items()
            }
            for cell, found in inputs.gates.items()
        },
        "gate_models": {
            cell: {
                "seed": int(found.seed),
                "num_shared_experts": int(found.num_shared_experts),
            }
            for cell, found in inputs.gates.items()
        },
        "leak_violations": int(inputs.leak["leak_violations"]),
        "leak_check": {
            "users_verified_by_prompt": int(inputs.leak["leak_check"]["users_verified_by_prompt"]),
            "users_by_rule_only": int(inputs.leak["leak_check"]["users_by_rule_only"]),
            "unverified_sources": list(inputs.leak["leak_check"]["unverified_sources"]),
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


def _metrics(metrics: Metrics) -> dict[str, float | int]:
    return {
        "auc": float(metrics["auc"]),
        "logloss": float(metrics["logloss"]),
        "gauc": float(metrics["gauc"]),
        "n": int(metrics["n"]),
    }


def _difference(difference: Difference | None) -> Mapping[str, float | None]:
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
    return {name: float(value) for name, value in zip(names, values, strict=True)}


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
