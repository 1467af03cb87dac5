"""Made-up results of an experiment, with a known effect of knowledge."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from configs.loading import override_scenario, scenario_from_tree
from configs.scenario import Scenario
from trainer.experiments.results import CellTuning, ExperimentResult, RunResult
from trainer.experiments.running import comparisons_of
from trainer.inspection import GateWeights
from trainer.predictions import SamplePredictions
from trainer.report.inputs import ReportInputs
from trainer.tuning import Trial

BASELINE = "none"
BACKBONES = ("din", "dcnv2")
ARMS = (BASELINE, "hein", "hein_match")
SEEDS = (1, 2, 3)

HELPFUL = {BASELINE: 0.0, "hein": 0.02, "hein_match": 0.9}


@functools.cache
def helpful_report() -> ReportInputs:
    """Knowledge match helps, HEIN alone hardly; made once, as nobody changes it."""
    return synthetic_report(HELPFUL)


def synthetic_scenario(name: str = "synthetic", resamples: int = 200) -> Scenario:
    return scenario_from_tree(
        {
            "name": name,
            "work_dir": "out/synthetic",
            "data": {
                "interactions": {"path": "data/ratings.csv"},
                "catalogue": {"path": "data/items.csv"},
            },
            "knowledge": {
                "answers": {
                    "item": {
                        "entity": "item",
                        "individual": ["answers/item.jsonl"],
                        "collective": ["answers/item_groups.jsonl"],
                        "groups": "groups_item.csv",
                    },
                    "user": {
                        "entity": "user",
                        "individual": ["answers/user.jsonl"],
                        "history_entry_pattern": "stars",
                    },
                }
            },
            "evaluation": {"bootstrap_resamples": resamples},
            "experiment": {
                "backbones": list(BACKBONES),
                "arms": {
                    BASELINE: {"overrides": {"model.adapter": "none", "model.match": "none"}},
                    "hein": {
                        "description": "Knowledge as fields.",
                        "overrides": {"model.adapter": "hein", "model.match": "none"},
                    },
                    "hein_match": {
                        "overrides": {
                            "model.adapter": "hein",
                            "model.match": "means",
                            "knowledge.sources": ["item"],
                        }
                    },
                },
                "seeds": list(SEEDS),
            },
        }
    )


def synthetic_report(
    effects: Mapping[str, float] = HELPFUL,
    users: int = 80,
    samples: int = 1500,
    items: int = 1200,
    resamples: int = 200,
    name: str = "synthetic",
) -> ReportInputs:
    """A report's inputs.

    Args:
      effects: arm -> how much of a signal that the baseline lacks is in its scores; negative
        adds noise instead.
      users: test users.
      samples: test samples.
      items: items, of which the rarer ones are cold.
      resamples: bootstrap resamples.
      name: the scenario's name.
    """
    generator = np.random.default_rng(7)
    popularity = (400 / (1 + np.arange(items)) ** 0.9).astype(int) - 1
    popularity = np.maximum(popularity, 0)
    chance = (popularity + 0.7) / (popularity + 0.7).sum()
    item = generator.choice(items, size=samples, p=chance)
    user = generator.integers(users, size=samples)
    known = generator.normal(size=users)[user] + 0.8 * generator.normal(size=items)[item]
    hidden = generator.normal(size=samples)
    logits = known + 0.6 * hidden
    labels = (generator.random(samples) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    part = (
        np.array([f"user{number}" for number in user], dtype=object),
        np.array([f"item{number}" for number in item], dtype=object),
        labels,
    )
    # Knowledge tells more about items that training says little about.
    need = 0.25 + 1.2 / (1 + popularity[item] / 10)
    runs = []
    for arm in effects:
        for backbone in BACKBONES:
            for seed in SEEDS:
                noise = 0.1 * generator.normal(size=samples)
                effect = effects[arm]
                signal = hidden if effect > 0 else generator.normal(size=samples)
                score = known + noise + abs(effect) * need * signal
                predictions = SamplePredictions(*part, scores=1 / (1 + np.exp(-score)))
                runs.append(_run(backbone, arm, seed, predictions, generator))
    scenario = synthetic_scenario(name, resamples)
    experiment = ExperimentResult(runs, comparisons_of(scenario, runs))
    return ReportInputs(
        scenario=scenario,
        experiment=experiment,
        training_counts={
            f"item{number}": int(count) for number, count in enumerate(popularity) if count > 0
        },
        titles={"item0": "The First Item"},
        gates={
            f"{backbone}/{arm}": GateWeights(
                seed=SEEDS[0],
                num_shared_experts=2,
                by_source={source: generator.dirichlet(np.full(7, 8.0)) for source in sources},
            )
            for backbone in BACKBONES
            for arm, sources in (("hein", ("item", "user")), ("hein_match", ("item",)))
            if arm in effects
        },
        leak={
            "leak_violations": 0,
            "leak_check": {
                "users_verified_by_prompt": users - 3,
                "users_by_rule_only": 3,
                "unverified_sources": ["item"],
            },
        },
        served_max_abs_difference=2.4e-7,
        steps=[
            {
                "name": "encode",
                "seconds": 41.3,
                "records_in": 3107,
                "records_out": 3107,
                "dead_letters": 0,
            },
            {
                "name": "examples",
                "seconds": 12.9,
                "records_in": 100_004,
                "records_out": 100_000,
                "dead_letters": 4,
                "history_only": 18_680,
            },
        ],
        command="make demo",
        machine="2 cores, Linux",
        versions="REKI 1.2.3 (commit 0123456), Python 3.11.9",
        made_at="2026-01-31",
    )


def _run(
    backbone: str,
    arm: str,
    seed: int,
    predictions: SamplePredictions,
    generator: np.random.Generator,
) -> RunResult:
    test = predictions.metrics()
    epochs = int(generator.integers(4, 8))
    best = epochs - 2
    climb = 1 - np.exp(-np.arange(1, epochs + 1) / 1.5)
    fall = 0.004 * np.maximum(np.arange(1, epochs + 1) - best, 0)
    curve = test["auc"] - 0.05 + 0.055 * climb - fall
    history = [
        {
            "epoch": float(epoch + 1),
            "train_loss": float(0.68 - 0.13 * climb[epoch] - 0.01 * epoch),
            "validation_auc": float(curve[epoch]),
            "validation_logloss": 0.55,
            "validation_gauc": 0.7,
        }
        for epoch in range(epochs)
    ]
    return RunResult(
        backbone=backbone,
        knowledge=arm,
        seed=seed,
        folder=Path("runs") / f"{backbone}_{arm}_seed{seed}",
        validation={"auc": float(curve.max()), "logloss": 0.55, "gauc": 0.7, "n": 900},
        selection_metric="auc",
        test=test,
        predictions=predictions,
        train_seconds=20.0 + seed,
        epochs=epochs,
        trainable_weights=12_345,
        history=history,
        reused=False,
    )


def tuned_report() -> ReportInputs:
    """The helpful report with three trials per cell, the last of which failed."""
    report = helpful_report()
    space = {
        "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "model.dropout_rate": {"low": 0, "high": 0.5, "step": 0.1},
        "training.batch_size": {"choices": [256, 512]},
    }
    scenario = override_scenario(
        report.scenario, {"experiment.tuning": {"trials": 3, "space": space, "seed": 7}}
    )
    tuning = [
        CellTuning(backbone, arm, "auc", trials := _trials(backbone, arm), trials[1].settings)
        for arm in ARMS
        for backbone in BACKBONES
    ]
    experiment = replace(report.experiment, tuning=tuning)
    return replace(report, scenario=scenario, experiment=experiment)


def _trials(backbone: str, arm: str) -> list[Trial]:
    better = 0.001 * (BACKBONES.index(backbone) + 2 * ARMS.index(arm))
    settings = [
        {
            "training.learning_rate": rate,
            "model.dropout_rate": 0.1,
            "training.batch_size": 512,
        }
        for rate in (0.003, 0.00125, 0.01)
    ]
    folder = Path("trials") / f"{backbone}_{arm}"
    return [
        Trial(1, settings[0], "complete", 0.7 + better, 10.0, "", folder / "trial0001"),
        Trial(2, settings[1], "complete", 0.71 + better, 12.5, "", folder / "trial0002"),
        Trial(3, settings[2], "failed", None, 1.0, "the loss is nan", folder / "trial0003"),
    ]
