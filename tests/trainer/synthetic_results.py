"""Results of runs that never happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainer.experiments.results import RunResult
from trainer.predictions import SamplePredictions


def result_of(
    backbone: str, arm: str, seed: int = 1, validation: float = 0.5, test: float = 0.5
) -> RunResult:
    """A result with the given AUCs and without predictions."""
    empty = np.zeros(0)
    return RunResult(
        backbone=backbone,
        knowledge=arm,
        seed=seed,
        folder=Path("runs"),
        validation={"auc": validation, "logloss": 0.5, "gauc": 0.5, "n": 10},
        selection_metric="auc",
        test={"auc": test, "logloss": 0.5, "gauc": 0.5, "n": 10},
        predictions=SamplePredictions(empty, empty, empty, empty),
        train_seconds=1.0,
        epochs=1,
        trainable_weights=10,
        history=[],
        reused=False,
    )
