"""Searches whose trainings are made up: the result follows from the settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from configs.experiment import SearchRange
from configs.scenario import Scenario
from tests.runs import synthetic_metrics
from trainer.run_folder import RunMetrics
from trainer.tuning import OnEpoch, SettingFailed

SPACE = {
    "training.learning_rate": SearchRange(low=1e-4, high=1.0, log=True),
    "model.dropout_rate": SearchRange(low=0.0, high=0.6),
    "training.batch_size": SearchRange(choices=(64, 128)),
}
BEST_RATE = 0.02


@dataclass
class MadeUpTraining:
    """Trains nothing; remembers what it was asked for.

    Attributes:
      before: called with the number of the call, from 1; may raise.
      epochs: validation results of the epochs, made from the final one.
      trained: settings of every call that ended: learning rate, dropout, batch size.
    """

    before: Callable[[int], None] = lambda call: None
    epochs: int = 1
    calls: int = 0
    trained: list[tuple[float, float, int]] = field(default_factory=list)

    def __call__(self, scenario: Scenario, on_epoch: Sequence[OnEpoch]) -> RunMetrics:
        self.calls += 1
        self.before(self.calls)
        training = scenario.training
        rate, dropout = training.learning_rate, scenario.model.dropout_rate
        quality = 0.9 - 0.05 * abs(math.log10(rate / BEST_RATE)) - 0.1 * dropout
        for epoch in range(1, self.epochs + 1):
            for listener in on_epoch:
                listener({"epoch": epoch, "validation_auc": quality - 0.1 / epoch})
        self.trained.append((rate, dropout, training.batch_size))
        metrics = synthetic_metrics(scenario)
        validation = {**metrics["validation"], "auc": quality}
        return RunMetrics(**{**metrics, "validation": validation})


def failing_at(call: int, error: Exception | type[BaseException]) -> Callable[[int], None]:
    """Raises in one call."""

    def before(found: int) -> None:
        if found == call:
            raise error

    return before


def diverging_at(call: int) -> Callable[[int], None]:
    return failing_at(call, SettingFailed("the loss is nan"))
