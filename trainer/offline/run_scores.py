"""Scores of a trained run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import tensorflow_recommenders as tfrs

from configs.scenario import Scenario
from trainer.examples import PreparedExamples, streamed_examples
from trainer.offline.part_scores import PartScores
from trainer.prediction import predictor
from trainer.predictions import Predictions


def run_scores(
    scenario: Scenario,
    model: tfrs.models.Model,
    part: str,
    watch: Callable[[PreparedExamples], None] = lambda examples: None,
) -> PartScores:
    """What a run's model says about a part that memory need not hold.

    Args:
      scenario: the run's.
      model: its model.
      part: train, validation or test.
      watch: also receives the examples of every batch.
    """

    def predictions() -> Iterator[Predictions]:
        predict = predictor(model)
        for examples in streamed_examples(scenario, model.inputs_preparation, part, model.kind):
            watch(examples)
            yield predict(examples)

    return PartScores(scenario, part, model.kind, getattr(model, "tasks", ()), predictions())
