"""What comes out of an experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from configs.loading import ConfigurationError
from trainer.metrics import AnyMetrics
from trainer.model_kinds import MODEL_KINDS, ModelKind
from trainer.predictions import Predictions
from trainer.significance import Difference
from trainer.tuning import Trial


@dataclass(frozen=True)
class RunResult:
    """One trained and tested model.

    Attributes:
      backbone: registry name.
      knowledge: name of the arm.
      seed: training seed.
      folder: its run folder.
      validation: metrics of the best epoch, on which every choice is made.
      selection_metric: the one by which epochs and settings were chosen.
      test: metrics on the test part, read once.
      predictions: what the model says about the test part.
      train_seconds: wall time of training and validation.
      epochs: epochs trained.
      trainable_weights: numbers that training changed.
      history: one dictionary per epoch.
      reused: whether it was there already and was not trained again.
      undertrained: whether validation still rose when the bound on epochs ended it.
    """

    backbone: str
    knowledge: str
    seed: int
    folder: Path
    validation: AnyMetrics
    selection_metric: str
    test: AnyMetrics
    predictions: Predictions
    train_seconds: float
    epochs: int
    trainable_weights: int
    history: Sequence[Mapping[str, float]]
    reused: bool
    undertrained: bool = False


@dataclass(frozen=True)
class Comparison:
    """One arm against the baseline, same backbone, all seeds, in the main metric of its kind.

    Attributes:
      backbone: registry name.
      knowledge: name of the arm.
      difference: on the test part.
      adjusted_p: p-value after Holm's correction for all comparisons of the experiment.
    """

    backbone: str
    knowledge: str
    difference: Difference
    adjusted_p: float = math.nan


@dataclass(frozen=True)
class CellTuning:
    """The search for the settings of one cell.

    Attributes:
      backbone: registry name.
      knowledge: name of the arm.
      metric: the validation metric by which trials were judged.
      trials: all of them, in order.
      settings: those of the best trial, with which all seeds were trained.
    """

    backbone: str
    knowledge: str
    metric: str
    trials: Sequence[Trial]
    settings: Mapping[str, object]


@dataclass(frozen=True)
class CellFailure:
    """Something of a cell that could not be done.

    Attributes:
      backbone: registry name.
      knowledge: name of the arm.
      what: "tuning", "seed 1" and so on.
      reason: the last lines of the error.
    """

    backbone: str
    knowledge: str
    what: str
    reason: str


def failures_text(failures: Sequence[CellFailure]) -> str:
    """All failures and what to do about them, in lines for people."""
    lines = [
        f"  {failure.backbone}, {failure.knowledge}, {failure.what}: "
        + failure.reason.replace("\n", "\n    ")
        for failure in failures
    ]
    parts = "1 part" if len(failures) == 1 else f"{len(failures)} parts"
    return "\n".join(
        [f"{parts} of the experiment failed:", *lines, "The same command does what is missing"]
    )


@dataclass(frozen=True)
class ExperimentResult:
    """All runs and comparisons of an experiment.

    Attributes:
      runs: of the cells of which every seed was trained and tested.
      comparisons: of those of them whose baseline was too.
      tuning: one entry per tuned cell.
      failures: what could not be done; the cells concerned are in no comparison.
      baseline: name of the arm that all others are compared with.
    """

    runs: Sequence[RunResult]
    comparisons: Sequence[Comparison]
    tuning: Sequence[CellTuning] = field(default_factory=tuple)
    failures: Sequence[CellFailure] = field(default_factory=tuple)
    baseline: str = "none"

    @property
    def kind(self) -> ModelKind:
        """The kind of all models."""
        predictions = self.runs[0].predictions
        return next(one for one in MODEL_KINDS.values() if isinstance(predictions, one.predictions))

    @property
    def metric(self) -> str:
        """The main metric of the models' kind, in which they are compared."""
        return self.runs[0].predictions.selection_metric

    def runs_of(self, backbone: str, knowledge: str) -> list[RunResult]:
        """The seeds of one cell."""
        return [run for run in self.runs if (run.backbone, run.knowledge) == (backbone, knowledge)]

    def settings_of(self, backbone: str, knowledge: str) -> Mapping[str, object]:
        """The settings of a cell's own search, or of the baseline's for all arms; else none."""
        by_arm = {one.knowledge: one.settings for one in self.tuning if one.backbone == backbone}
        return by_arm.get(knowledge, by_arm.get(self.baseline, {}))

    def best_run(self, backbone: str) -> RunResult:
        """The run of an arm beside the baseline that is best on validation; test has no say.

        Raises:
          ConfigurationError: there is no such run.
        """
        candidates = [
            run for run in self.runs if run.backbone == backbone and run.knowledge != self.baseline
        ]
        if not candidates:
            raise ConfigurationError(
                f"the experiment needs an arm besides '{self.baseline}', and '{backbone}' a run "
                "of it"
            )
        return max(candidates, key=lambda run: run.validation[run.selection_metric])
