"""From a model and prepared examples to predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError
from preprocessing.records.contract import LABEL
from trainer.metrics import rank_positives
from trainer.predictions import (
    ListPredictions,
    Predictions,
    RetrievalPredictions,
    SamplePredictions,
)

if TYPE_CHECKING:
    from trainer.examples import PreparedExamples

_BATCH = 4096


class NotFiniteError(CommandError):
    """A number is not finite; the message says which."""


class Predictor(ABC):
    """What a model says about examples; its graph is traced once, however often it is asked."""

    def __init__(self, model: tfrs.models.Model):
        """Takes a model, which may be trained on between predictions."""
        self._model = model
        self._compute = tf.function(self._outputs, reduce_retracing=True, autograph=False)

    def predict(self, examples: PreparedExamples) -> Predictions:
        """What the model with its present weights says about examples, in their order.

        Raises:
          NotFiniteError: a score is infinite or NaN.
        """
        (predictions,) = self.in_batches([examples])
        return predictions

    @abstractmethod
    def in_batches(self, parts: Iterable[PreparedExamples]) -> Iterator[Predictions]:
        """`predict` for examples that come in parts: what all of them share is computed once.

        Raises:
          NotFiniteError: a score, or an item's vector, is infinite or NaN.
        """

    @abstractmethod
    def _outputs(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """What the model computes of a batch, by name."""

    def _all_outputs(self, examples: PreparedExamples) -> dict[str, np.ndarray]:
        """`_outputs` of all examples: name -> float32 [n, ...]."""
        batches = [self._compute(batch) for batch in examples.batches(_BATCH)]
        return {
            name: finite(np.concatenate([batch[name].numpy() for batch in batches]))
            for name in batches[0]
        }


class SamplePredictor(Predictor):
    """Scores of a ranking model, of the label and of further tasks."""

    def in_batches(self, parts: Iterable[PreparedExamples]) -> Iterator[SamplePredictions]:
        """Scores, [n] each."""
        for examples in parts:
            scores = self._all_outputs(examples)
            labels = examples.label_columns(self._model.tasks)
            yield SamplePredictions(
                examples.user_ids,
                examples.item_ids,
                labels.pop(LABEL),
                scores.pop(LABEL),
                task_labels=labels,
                task_scores=scores,
            )

    def _outputs(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        scores = {LABEL: self._model.probabilities(features)}
        return scores | self._model.task_probabilities(features)


class ListPredictor(Predictor):
    """Scores of a re-ranker."""

    def in_batches(self, parts: Iterable[PreparedExamples]) -> Iterator[ListPredictions]:
        """Scores, [lists, length] each."""
        for examples in parts:
            scores = self._all_outputs(examples)[LABEL]
            yield ListPredictions(examples.user_ids, examples.item_ids, examples.labels, scores)

    def _outputs(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {LABEL: self._model.probabilities(features)}


class RankPredictor(Predictor):
    """Where a retrieval model puts the items that users chose."""

    def in_batches(self, parts: Iterable[PreparedExamples]) -> Iterator[RetrievalPredictions]:
        """Ranks among all items, whose vectors are computed once.

        Raises:
          ValueError: the examples are not of retrieval.
        """
        item_vectors = finite(self._model.all_item_vectors()[1:])
        for examples in parts:
            if examples.history_rows is None:
                raise ValueError("retrieval is judged on examples of retrieval, with history_rows")
            among_all, among_new = rank_positives(
                self._all_outputs(examples)["vector"],
                item_vectors,
                examples.features["item_row"],
                examples.history_rows,
            )
            yield RetrievalPredictions(examples.user_ids, examples.item_ids, among_all, among_new)

    def _outputs(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"vector": self._model.user_vectors(features)}


def finite(scores: np.ndarray) -> np.ndarray:
    """The scores, if they can be judged.

    Raises:
      NotFiniteError: one of them is infinite or NaN.
    """
    if not np.isfinite(scores).all():
        raise NotFiniteError("a score is not finite. Try a lower training.learning_rate")
    return scores
