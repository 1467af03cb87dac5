"""Backbones x arms x seeds under one budget, each compared with the arm without knowledge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from configs.loading import ConfigurationError, override_scenario
from configs.scenario import Scenario
from preprocessing.records.contract import CTR
from trainer.bootstrap import Difference
from trainer.evaluation import kind_of, predict_run
from trainer.metrics import Metrics
from trainer.predictions import compare_predictions
from trainer.preparation import ExampleStore
from trainer.run_folder import RunFolder, training_code_version
from trainer.sample_predictions import SamplePredictions
from trainer.tables import fingerprint
from trainer.training import train

BASELINE = "none"


@dataclass(frozen=True)
class RunResult:
    """One trained and tested model.

    Attributes:
      backbone: registry name.
      knowledge: name of the arm.
      seed: training seed.
      folder: its run folder.
      validation: metrics of the best epoch, on which every choice is made.
      test: metrics on the test part, read once.
      predictions: scores on the test part.
      train_seconds: wall time of training and validation.
      epochs: epochs trained.
      history: one dictionary per epoch.
      reused: whether it was there already and was not trained again.
    """

    backbone: str
    knowledge: str
    seed: int
    folder: Path
    validation: Metrics
    test: Metrics
    predictions: SamplePredictions
    train_seconds: float
    epochs: int
    history: list[dict[str, float]]
    reused: bool


@dataclass(frozen=True)
class Comparison:
    """One arm against the arm without knowledge, same backbone, all seeds."""

    backbone: str
    knowledge: str
    difference: Difference


@dataclass(frozen=True)
class ExperimentResult:
    """All runs and comparisons of an experiment."""

    runs: list[RunResult]
    comparisons: list[Comparison]

    def runs_of(self, backbone: str, knowledge: str) -> list[RunResult]:
        """The seeds of one cell."""
        return [run for run in self.runs if (run.backbone, run.knowledge) == (backbone, knowledge)]

    def best_run(self, backbone: str) -> RunResult:
        """The run with knowledge that has the best validation AUC; the test part has no say.

        Raises:
          ConfigurationError: no arm of the experiment has knowledge.
        """
        candidates = [
            run for run in self.runs if run.backbone == backbone and run.knowledge != BASELINE
        ]
        if not candidates:
            raise ConfigurationError(
                f"experiment.arms needs an arm besides '{BASELINE}', and '{backbone}' a run of it"
            )
        return max(candidates, key=lambda run: run.validation["auc"])


def experiment_scenarios(scenario: Scenario) -> Iterator[tuple[str, str, int, Scenario]]:
    """The cells of the grid: (backbone, arm, seed, scenario with its run folder).

    Raises:
      ConfigurationError: a backbone does not exist, or is no ranking model.
    """
    grid = scenario.experiment
    for backbone in grid.backbones:
        _require_ranking_model(scenario, backbone)
    for arm_name, arm in grid.arms.items():
        for backbone in grid.backbones:
            for seed in grid.seeds:
                folder = Path(scenario.work_dir) / "runs" / f"{backbone}_{arm_name}_seed{seed}"
                yield (
                    backbone,
                    arm_name,
                    seed,
                    override_scenario(
                        scenario,
                        {
                            **arm.overrides,
                            "model.backbone": backbone,
                            "training.seed": seed,
                            "run_dir": str(folder),
                        },
                    ),
                )


def _require_ranking_model(scenario: Scenario, backbone: str) -> None:
    kind = kind_of(override_scenario(scenario, {"model.backbone": backbone}))
    if kind != CTR:
        raise ConfigurationError(
            f"experiment.backbones: '{backbone}' is trained on '{kind}' examples, and an "
            "experiment is about ranking models ('ctr') only; train it with 'python -m trainer "
            "train' and compare its runs with 'python -m trainer compare'"
        )


def run_experiment(
    scenario: Scenario, report_progress: Callable[[str], None] = lambda message: None
) -> ExperimentResult:
    """Trains every cell of the grid, then reads the test part once per run and compares.

    A run that is already there, finished, with the same configuration and data, is not trained
    again.

    Args:
      scenario: its `experiment` section names backbones, arms and seeds; an arm called "none" is
        the baseline.
      report_progress: receives one line per run.

    Raises:
      ConfigurationError: there is no arm called "none", or a backbone is no ranking model.
      preprocessing.records.errors.DamagedRecords: a data file is missing or damaged.
    """
    if BASELINE not in scenario.experiment.arms:
        raise ConfigurationError(
            f"experiment.arms needs an arm called '{BASELINE}' to compare with"
        )
    store = ExampleStore()
    cells = list(experiment_scenarios(scenario))
    runs = []
    for number, (backbone, arm, seed, cell) in enumerate(cells, start=1):
        folder = RunFolder(str(cell.run_dir))
        reused = is_up_to_date(folder, cell)
        if not reused:
            train(cell, store)
        result = read_run_result(folder, backbone, arm, seed, store, reused)
        runs.append(result)
        report_progress(
            f"[{number}/{len(cells)}] {folder.path.name}: "
            f"validation AUC {result.validation['auc']:.4f}, test AUC {result.test['auc']:.4f}, "
            f"{result.epochs} epochs, {result.train_seconds:.0f} s"
            + (" (already trained)" if reused else "")
        )
    return ExperimentResult(runs, _comparisons(scenario, runs))


def is_up_to_date(folder: RunFolder, scenario: Scenario) -> bool:
    """Whether a folder holds a finished run with these settings, this data and this code."""
    return (
        folder.is_complete
        and folder.read_metrics().get("code_version") == training_code_version()
        and _training_settings(folder.read_scenario()) == _training_settings(scenario)
        and folder.read_metrics()["fingerprint"] == fingerprint(scenario)
    )


def _training_settings(scenario: Scenario) -> dict[str, object]:
    """What a trained model depends on; which other runs stand beside it makes no difference."""
    return scenario.model_dump(exclude={"name", "evaluation", "experiment", "serving"})


def read_run_result(
    folder: RunFolder, backbone: str, arm: str, seed: int, store: ExampleStore, reused: bool
) -> RunResult:
    """Reads a finished run and scores the test part with it."""
    metrics = folder.read_metrics()
    predictions = cast(SamplePredictions, predict_run(folder.path, "test", store))
    return RunResult(
        backbone=backbone,
        knowledge=arm,
        seed=seed,
        folder=folder.path,
        validation=cast(Metrics, metrics["validation"]),
        test=predictions.metrics(),
        predictions=predictions,
        train_seconds=metrics["train_seconds"],
        epochs=metrics["epochs"],
        history=folder.read_history(),
        reused=reused,
    )


def _comparisons(scenario: Scenario, runs: list[RunResult]) -> list[Comparison]:
    def predictions(backbone: str, arm: str) -> list[SamplePredictions]:
        return [run.predictions for run in runs if (run.backbone, run.knowledge) == (backbone, arm)]

    grid, evaluation = scenario.experiment, scenario.evaluation
    return [
        Comparison(
            backbone,
            arm,
            compare_predictions(
                predictions(backbone, BASELINE),
                predictions(backbone, arm),
                resamples=evaluation.bootstrap_resamples,
                seed=evaluation.bootstrap_seed,
            )["auc"],
        )
        for backbone in grid.backbones
        for arm in grid.arms
        if arm != BASELINE
    ]
