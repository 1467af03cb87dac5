"""What is done for one cell of an experiment: finding settings, then training every seed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from configs.command_line import CommandError
from configs.judging import Experiment
from configs.loading import save_scenario
from configs.scenario import Scenario
from trainer.experiments.grid import Cell
from trainer.experiments.progress import TUNING, Progress
from trainer.experiments.results import CellTuning, Failure
from trainer.experiments.trainers import Job, Task, Trainer, reason_text
from trainer.finished_runs import is_up_to_date
from trainer.run_folder import RunFolder, RunMetrics
from trainer.tuning import OnEpoch, Study, best_trial


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
        self.failures: list[Failure] = []
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
        shutil.rmtree(folder.path, ignore_errors=True)
        copied.path.rename(folder.path)
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
        self.failures.append(Failure(self.cell.backbone, self.cell.arm, what, reason))
        self._progress.failure(self.cell, what, reason)
