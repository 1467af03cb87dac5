"""Running an experiment: settings, runs, and at the end the test part and the comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from configs.command_line import CommandError, say
from configs.folder_lock import alone_in
from configs.loading import save_scenario
from configs.scenario import Scenario
from trainer.evaluation import predict_run
from trainer.experiments.cell_work import CellWork
from trainer.experiments.comparing import comparisons_of, resamples_needed
from trainer.experiments.display import displayed
from trainer.experiments.grid import Cell, experiment_cells
from trainer.experiments.progress import Progress
from trainer.experiments.readiness import require_ready
from trainer.experiments.results import ExperimentResult, Failure, RunResult, failures_text
from trainer.experiments.trainers import LocalTrainer, TrainerPool, reason_text
from trainer.experiments.worker_pool import WorkerPool
from trainer.history_file import still_rises
from trainer.metric_names import people_call
from trainer.preparation import ExampleStore
from trainer.run_folder import RunFolder
from trainer.tracking import Tracking
from trainer.tracking_option import tracking_of


def run_experiment(
    scenario: Scenario, folder: Path, processes: int | None = None, tracking: str | None = None
) -> ExperimentResult:
    """Tunes and trains every cell, then reads the test part once per run and compares.

    What is there already, finished, with the same configuration, data and code, is not done again;
    so an experiment that was interrupted goes on with what is missing. A cell that fails does not
    stop the others.

    Args:
      scenario: its `experiment` section says what there is to do.
      folder: gets `runs/`, `trials/`, `logs/` and the resolved `experiment.yaml`.
      processes: runs at a time; `experiment.processes` if None. One at a time is done in this
        process.
      tracking: checked address of a tracking server.

    Raises:
      ConfigurationError: the experiment makes no sense; nothing was trained.
      CommandError: nothing could be finished, or another process is at work in the folder.
      preprocessing.records.errors.DamagedRecords: a data file is missing or damaged.
    """
    cells = experiment_cells(scenario)
    _say_if_nothing_can_be_marked(scenario, len(cells))
    processes = processes or scenario.experiment.processes
    store = ExampleStore()
    with alone_in(folder):
        require_ready(cells, store)
        told = tracking_of(tracking, scenario.name)
        save_scenario(scenario, folder / "experiment.yaml")
        pool: TrainerPool = LocalTrainer(store, told)
        if processes > 1:
            pool = WorkerPool(processes, folder / "logs", scenario.name, tracking)
        with displayed(partial(Progress, scenario, cells, processes)) as progress:
            work = [CellWork(cell, scenario.experiment, folder, progress) for cell in cells]
            if scenario.experiment.tune_baseline.trials:
                _lead_by_baselines(work, scenario.experiment.baseline)
            pool.run([task for one in work for task in one.first_tasks()])
        return _tested(scenario, work, store, told)


def _lead_by_baselines(work: Sequence[CellWork], baseline: str) -> None:
    for leader in (one for one in work if one.cell.arm == baseline):
        backbone = leader.cell.backbone
        leader.lead([one for one in work if one is not leader and one.cell.backbone == backbone])


def _say_if_nothing_can_be_marked(scenario: Scenario, cells: int) -> None:
    comparisons = cells - len(scenario.experiment.backbones)
    needed = resamples_needed(comparisons)
    if comparisons and scenario.evaluation.bootstrap_resamples < needed:
        say(
            f"warning: evaluation.bootstrap_resamples="
            f"{scenario.evaluation.bootstrap_resamples} are too few for significance marks on "
            f"{comparisons} comparisons; {needed} or more allow them"
        )


def _tested(
    scenario: Scenario, work: Sequence[CellWork], store: ExampleStore, tracking: Tracking
) -> ExperimentResult:
    """Reads the test part for every cell that is complete, and compares."""
    complete = [one for one in work if one.is_complete]
    failures = [failure for one in work for failure in one.failures]
    say(f"reading the test part for {sum(len(one.runs) for one in complete)} runs")
    runs: list[RunResult] = []
    for one in complete:
        try:
            runs += [
                _run_result(one.cell, seed, run, reused, store)
                for seed, (run, reused) in sorted(one.runs.items())
            ]
        except Exception as error:
            failures.append(Failure(one.cell.backbone, one.cell.arm, "test", reason_text(error)))
    if not runs:
        raise CommandError(failures_text(failures))
    for result in runs:
        tracking.log_test(result.folder, result.test)
    return ExperimentResult(
        runs,
        comparisons_of(scenario, runs),
        [one.tuning for one in work if one.tuning is not None],
        failures,
        scenario.experiment.baseline,
    )


def _run_result(
    cell: Cell, seed: int, folder: RunFolder, reused: bool, store: ExampleStore
) -> RunResult:
    metrics = folder.read_metrics()
    predictions = predict_run(folder.path, "test", store)
    test = predictions.metrics()
    metric = predictions.selection_metric
    say(f"{folder.path.name}: test {people_call(metric)} {test[metric]:.4f}")
    history = folder.read_history()
    training = folder.read_scenario().training
    return RunResult(
        backbone=cell.backbone,
        knowledge=cell.arm,
        seed=seed,
        folder=folder.path,
        validation=metrics["validation"],
        selection_metric=metrics["selection_metric"],
        test=test,
        predictions=predictions,
        train_seconds=metrics["train_seconds"],
        epochs=metrics["epochs"],
        trainable_weights=metrics["trainable_weights"],
        history=history,
        reused=reused,
        undertrained=still_rises(history, metrics["selection_metric"], training),
    )
