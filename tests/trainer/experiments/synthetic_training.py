"""Training and testing that are made up, for tests of what is around them."""

from __future__ import annotations

import csv
import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from configs.loading import save_scenario
from configs.scenario import Scenario
from tests.runs import synthetic_metrics
from tests.scenarios import tiny_scenario
from trainer.examples import ExampleStore
from trainer.experiments import running, trainers
from trainer.predictions import SamplePredictions
from trainer.run_folder import RunFolder, RunMetrics
from trainer.tuning import OnEpoch

BEST_RATE = 0.02
SAMPLES, USERS = 80, 9


@dataclass
class MadeUpTraining:
    """Takes the place of `train` and `predict_run`, and of the check of models.

    Attributes:
      before: called with the scenario of every training first; may raise.
      trained: the last two parts of the run folders, in order.
      tested: names of the run folders whose test part was read, and how many were trained then.
    """

    before: Callable[[Scenario], None] = lambda scenario: None
    trained: list[str] = field(default_factory=list)
    tested: list[tuple[str, int]] = field(default_factory=list)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> MadeUpTraining:
        """Puts it in place."""
        monkeypatch.setattr(trainers, "train", self.train)
        monkeypatch.setattr(running, "predict_run", self.predict)
        monkeypatch.setattr(running, "require_ready", lambda cells, store: None)
        return self

    def train(
        self,
        scenario: Scenario,
        store: ExampleStore,
        progress: bool,
        on_epoch: Sequence[OnEpoch],
    ) -> RunMetrics:
        self.before(scenario)
        rate, seed = scenario.training.learning_rate, scenario.training.seed
        quality = 0.8 - 0.05 * abs(math.log10(rate / BEST_RATE)) + 0.001 * seed
        row = {"epoch": 1, "train_loss": 0.5, "validation_auc": quality}
        for listener in on_epoch:
            listener(row)
        metrics = synthetic_metrics(scenario)
        validation = {**metrics["validation"], "auc": quality}
        result = RunMetrics(**{**metrics, "validation": validation})
        folder = RunFolder(str(scenario.run_dir))
        folder.path.mkdir(parents=True)
        save_scenario(scenario, folder.config)
        with folder.history.open("w", newline="") as file:
            csv.writer(file).writerows([row.keys(), row.values()])
        folder.metrics.write_text(json.dumps(result))
        self.trained.append("/".join(folder.path.parts[-2:]))
        return result

    def predict(self, run: Path, part: str, store: ExampleStore) -> SamplePredictions:
        assert part == "test"
        self.tested.append((run.name, len(self.trained)))
        data = np.random.default_rng(3)
        labels = data.integers(2, size=SAMPLES)
        users = data.integers(USERS, size=SAMPLES).astype(str).astype(object)
        noise = np.random.default_rng(zlib.crc32(run.name.encode())).uniform(size=SAMPLES)
        items = np.arange(SAMPLES).astype(str).astype(object)
        return SamplePredictions(users, items, labels, 0.3 * labels + 0.7 * noise)


def is_run(scenario: Scenario, name: str) -> bool:
    return Path(str(scenario.run_dir)).name == name


def one_backbone(**assignments: object) -> Scenario:
    """DIN in two arms with two seeds; nothing of it is trained when `MadeUpTraining` is in use."""
    defaults = {"experiment__backbones": ["din"], "experiment__seeds": [1, 2]}
    return tiny_scenario(**{**defaults, **assignments})


def tuned(**assignments: object) -> Scenario:
    space = {"training.learning_rate": {"low": 1e-4, "high": 1, "log": True}}
    tuning = {"trials": 3, "seed": 4, "space": space}
    return one_backbone(experiment__tuning=tuning, **assignments)


def baseline_tuned() -> Scenario:
    space = {"training.learning_rate": {"low": 1e-4, "high": 1, "log": True}}
    search = {"trials": 3, "seed": 4, "space": space}
    return one_backbone(experiment__tune_baseline=search)
