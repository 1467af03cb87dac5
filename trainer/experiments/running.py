"""Running an experiment: settings, runs, and at the end the test part and the comparisons."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from configs.command_line import CommandError, say
from configs.experiment import Experiment
from configs.files import alone_in
from configs.loading import save_scenario
from configs.scenario import Scenario
from trainer.evaluation.runs import predict_run
from trainer.examples import ExampleStore
from trainer.experiments.grid import EXPERIMENT_FILE, Cell, experiment_cells, require_ready
from trainer.experiments.progress import TUNING, Progress, displayed
from trainer.experiments.results import (
    CellFailure,
    CellTuning,
    Comparison,
    ExperimentResult,
    RunResult,
    failures_text,
)
from trainer.experiments.trainers import (
    Job,
    LocalTrainer,
    Task,
    Trainer,
    TrainerPool,
    WorkerPool,
    reason_text,
)
from trainer.metrics import display_name
from trainer.predictions import Predictions, compare_predictions
from trainer.run_folder import RunFolder, RunMetrics
from trainer.run_identity import is_up_to_date
from trainer.significance import holm
from trainer.tracking import Tracking, tracking_of
from trainer.training_loop import counted, still_rises
from trainer.tuning import OnEpoch, Study, best_trial

SIGNIFICANT = 0.05
"""The chance of one false mark or more in a whole experiment is at most this."""


def comparisons_of(scenario: Scenario, runs: Sequence[RunResult]) -> list[Comparison]:
    """All arms of all backbones against the baseline of the same backbone, Holm-corrected.

    Args:
      scenario: names the baseline and the bootstrap.
      runs: the seeds of every cell; a backbone without a run of the baseline is left out.
    """
    baseline, evaluation = scenario.experiment.baseline, scenario.evaluation
    by_cell: dict[tuple[str, str], list[Predictions]] = {}
    for run in runs:
        by_cell.setdefault((run.backbone, run.knowledge), []).append(run.predictions)
    compared = []
    pairs = [cell for cell in by_cell if cell[1] != baseline and (cell[0], baseline) in by_cell]
    for backbone, arm in counted(pairs, f"comparing with '{baseline}'"):
        predictions = by_cell[backbone, arm]
        differences = compare_predictions(
            by_cell[backbone, baseline],
            predictions,
            resamples=evaluation.bootstrap_resamples,
            seed=evaluation.bootstrap_seed,
        )
        compared.append(Comparison(backbone, arm, differences[predictions[0].selection_metric]))
    adjusted = holm([comparison.difference.p_value for comparison in compared])
    return [
        replace(comparison, adjusted_p=p) for comparison, p in zip(compared, adjusted, strict=True)
    ]


def is_significant(comparison: Comparison, level: float = SIGNIFICANT) -> bool:
    """Whether a difference exceeds what other users, other seeds and many comparisons may do."""
    return comparison.difference.covers_seeds and comparison.adjusted_p < level


def smallest_adjusted_p(scenario: Scenario, comparisons: int) -> float:
    """The smallest p-value that a comparison can have after correction, by the resamples made."""
    return min(1.0, comparisons * 2 / (scenario.evaluation.bootstrap_resamples + 1))


def resamples_needed(comparisons: int) -> int:
    """The resamples from which on a comparison can be significant among so many."""
    return round(2 * comparisons / SIGNIFICANT)


class CellWork:
    """The tasks of one cell, and what came of them.

    Attributes:
      cell: the cell.
      runs: seed -> its run folder, and whether it was there already.
      tuning: the search for its settings; None without one of its own.
      failures: what could not be done.
    """

    def __init__(self, cell: Cell, experiment: Experiment, folder: Path, progress: Progress):
        """Plans the work.

        Args:
          cell: the cell.
          experiment: its seeds and tuning.
          folder: of the experiment.
          progress: is told what happens.
        """
        self.cell = cell
        self.runs: dict[int, tuple[RunFolder, bool]] = {}
        self.tuning: CellTuning | None = None
        self.failures: list[CellFailure] = []
        self._search = experiment.search_of(cell.arm)
        self._settings: Mapping[str, object] = {}
        self._followers: Sequence[CellWork] = ()
        self._waits = False
        self._experiment = experiment
        self._folder = folder
        self._progress = progress

    @property
    def is_complete(self) -> bool:
        """Whether every seed has its run."""
        return len(self.runs) == len(self._experiment.seeds)

    def lead(self, followers: Sequence[CellWork]) -> None:
        """Makes other cells wait for the settings that are found here, and take them."""
        self._followers = followers
        for follower in followers:
            follower._waits = True

    def first_tasks(self) -> list[Task]:
        """What can be done at once; further tasks follow from these."""
        if self._waits:
            return []
        return [self._tune] if self._search.trials else self._training_tasks()

    def _training_tasks(self) -> list[Task]:
        return [partial(self._train, seed) for seed in self._experiment.seeds]

    def _tune(self, trainer: Trainer) -> Sequence[Task]:
        together = [self, *self._followers]
        try:
            self.tuning = self._searched(trainer)
        except Exception as error:
            for cell in together:
                cell._fail(TUNING, error)
            return []
        for cell in together:
            cell._settings = self.tuning.settings
        return [task for cell in together for task in cell._training_tasks()]

    def _searched(self, trainer: Trainer) -> CellTuning:
        tuning, seed = self._search, self._experiment.seeds[0]
        study = Study(
            self._folder / "trials" / self.cell.name,
            self.cell.run(self._folder, seed, {}),
            tuning.space,
            tuning.seed,
            restart=True,
        )

        def train(scenario: Scenario, on_epoch: Sequence[OnEpoch]) -> RunMetrics:
            return self._trained(trainer, scenario, f"trial {len(study.trials) + 1}", on_epoch)

        tell = partial(self._progress.trial, self.cell)
        for trial in study.trials[: tuning.trials]:
            tell(trial)
        study.run(tuning.trials, train, tell)
        # A study may have more trials than this budget, of a larger one before.
        trials = study.trials[: tuning.trials]
        best = best_trial(trials)
        if best is None:
            raise CommandError(f"no trial has a result. The last one: {trials[-1].reason}")
        return CellTuning(self.cell.backbone, self.cell.arm, study.metric, trials, best.settings)

    def _train(self, seed: int, trainer: Trainer) -> Sequence[Task]:
        what = f"seed {seed}"
        try:
            scenario = self.cell.run(self._folder / "runs", seed, self._settings)
            folder = RunFolder(str(scenario.run_dir))
            reused = is_up_to_date(folder, scenario) or self._adopted(folder, scenario)
            if reused:
                metrics = folder.read_metrics()
            else:
                metrics = self._trained(trainer, scenario, what, [])
            self.runs[seed] = folder, reused
            self._progress.run(self.cell, what, metrics, reused)
        except Exception as error:
            self._fail(what, error)
        return []

    def _adopted(self, folder: RunFolder, scenario: Scenario) -> bool:
        """Takes over the run of the best trial, if that is this run."""
        best = None if self.tuning is None else best_trial(self.tuning.trials)
        if best is None or not is_up_to_date(RunFolder(best.run), scenario):
            return False
        copied = RunFolder(folder.unfinished)
        shutil.rmtree(copied.path, ignore_errors=True)
        shutil.copytree(best.run, copied.path)
        save_scenario(scenario, copied.config)
        metrics = {**copied.read_metrics(), "run": str(folder.path)}
        copied.metrics.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        folder.require_replaceable()
        folder.take_finished()
        return True

    def _trained(
        self, trainer: Trainer, scenario: Scenario, what: str, on_epoch: Sequence[OnEpoch]
    ) -> RunMetrics:
        self._progress.begin(self.cell, what)
        tell = partial(self._progress.epoch, self.cell, what)
        return trainer.train(Job(scenario, self._tags(what)), [*on_epoch, tell])

    def _tags(self, what: str) -> Mapping[str, str]:
        return {"arm": self.cell.arm, "cell": self.cell.name, "role": what}

    def _fail(self, what: str, error: Exception) -> None:
        reason = reason_text(error)
        self.failures.append(CellFailure(self.cell.backbone, self.cell.arm, what, reason))
        self._progress.failure(self.cell, what, reason)


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
      preprocessing.records.contract.DamagedRecords: a data file is missing or damaged.
    """
    cells = experiment_cells(scenario)
    _say_if_nothing_can_be_marked(scenario, len(cells))
    processes = processes or scenario.experiment.processes
    store = ExampleStore()
    with alone_in(folder):
        require_ready(cells, store)
        told = tracking_of(tracking, scenario.name)
        save_scenario(scenario, folder / EXPERIMENT_FILE)
        pool: TrainerPool = LocalTrainer(store, told)
        if processes > 1:
            pool = WorkerPool(
                processes,
                scenario.experiment.threads_per_process,
                folder / "logs",
                scenario.name,
                tracking,
            )
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
            failures.append(
                CellFailure(one.cell.backbone, one.cell.arm, "test", reason_text(error))
            )
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
    say(f"{folder.path.name}: test {display_name(metric)} {test[metric]:.4f}")
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
