"""What training and evaluation do otherwise for each kind of model, in one object for each."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.records.contract import CTR, LABEL, RERANK, RETRIEVAL
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


class UntrainableError(ConfigurationError):
    """Options do not go together or make no model; data and devices are not at fault."""


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


@dataclass(frozen=True)
class ModelKind:
    """A kind of model; `MODEL_KINDS` has them all.

    Attributes:
      name: of the kind and of its examples.
      models: what people call models of the kind.
      predictor: from examples to predictions.
      predictions: what a model says about a part, with its metrics and its selection metric.
      shown_metrics: metrics that people look at first.
      plotted_metrics: metrics of the plot of slices.
      reported_metrics: metrics in the tables of an experiment's report, the main one first.
      reported_metrics_note: what these are.
      description: what a model of the kind is.
      intended_use: what it is for.
      has_labels: whether examples have labels; those of retrieval are items that users chose, to be
        found among all others, with the whole history of their users.
      has_tasks: whether further labels can be learned beside the first.
      has_lists: whether an example is a list of candidates.
      has_match: whether candidate and history meet in the model, so that match can compare them.
      has_selection: whether `training.selection` has a choice.
    """

    name: str
    models: str
    predictor: type[Predictor]
    predictions: type[Predictions]
    shown_metrics: tuple[str, ...]
    plotted_metrics: tuple[str, str]
    reported_metrics: tuple[str, ...]
    reported_metrics_note: str
    description: str
    intended_use: str
    has_labels: bool = True
    has_tasks: bool = False
    has_lists: bool = False
    has_match: bool = True
    has_selection: bool = False


MODEL_KINDS = {
    kind.name: kind
    for kind in (
        ModelKind(
            CTR,
            "ranking models",
            SamplePredictor,
            SamplePredictions,
            shown_metrics=(
                "auc",
                "gauc",
                "logloss",
                "normalised_entropy",
                "calibration_ratio",
                "ndcg_at_10",
            ),
            plotted_metrics=("auc", "gauc"),
            reported_metrics=("auc", "logloss", "gauc"),
            reported_metrics_note="AUC and LogLoss (nats) over the pooled test samples. GAUC is "
            "the mean of the users’ own AUCs, weighted by their samples, without users of one "
            "class.",
            description="A ranking model: from a user's history and a candidate item to the "
            "probability that the user likes the item.",
            intended_use="Ordering candidates that something else has chosen, for users of the "
            "service whose data it was trained on.",
            has_tasks=True,
            has_selection=True,
        ),
        ModelKind(
            RERANK,
            "re-rankers",
            ListPredictor,
            ListPredictions,
            shown_metrics=(
                "auc",
                "logloss",
                "calibration_ratio",
                "ndcg_at_10",
                "map_at_10",
                "mrr",
            ),
            plotted_metrics=("auc", "ndcg_at_10"),
            reported_metrics=("ndcg_at_10", "map_at_10", "auc"),
            reported_metrics_note="NDCG@10 and MAP@10 are means over the test lists with a "
            "positive candidate, AUC is over all candidates of all lists.",
            description="A re-ranker: from a user's history and a list of candidates to a score of "
            "every candidate in the others' presence.",
            intended_use="Ordering the short list that a ranking model has left, for users of the "
            "service whose data it was trained on.",
            has_lists=True,
        ),
        ModelKind(
            RETRIEVAL,
            "retrieval models",
            RankPredictor,
            RetrievalPredictions,
            shown_metrics=(
                "recall_at_10",
                "new_items_recall_at_10",
                "new_items_ndcg_at_10",
                "new_items_mrr",
            ),
            plotted_metrics=("new_items_recall_at_10", "new_items_mrr"),
            reported_metrics=("new_items_recall_at_10", "recall_at_10", "mrr"),
            reported_metrics_note="Recall@10 is the share of test examples whose item is among the "
            "first ten of all items; among new items: of those that are not in the user’s history. "
            "MRR is the mean of 1 / rank.",
            description="A retrieval model: from a user's history to the items with the largest "
            "inner products with the user's vector, out of the whole catalogue.",
            intended_use="Choosing some hundred candidates for a ranking model, for users of the "
            "service whose data it was trained on.",
            has_labels=False,
            has_match=False,
        ),
    )
}


def predictor_of(model: tfrs.models.Model) -> Predictor:
    """What says, for one model, what it predicts; its graph is traced once."""
    return MODEL_KINDS[model.kind].predictor(model)


_KERAS_FRAME = re.compile(
    r"\AException encountered when calling .*?\.\n\n(.*)\n\nCall arguments received by ", re.DOTALL
)
_KERNEL_FRAME = re.compile(r"\{\{function_node [^}]*\}\} ?| \[Op:\w+\](?: name: ?)?")


def reason_of(error: Exception) -> str:
    """The error's own first paragraph on one line.

    Keras wraps the message of a layer between the layer's name and the arguments of the call, which
    are pages of tensors; TensorFlow wraps that of a kernel between its places in the runtime.
    """
    text = str(error)
    wrapped = _KERAS_FRAME.match(text)
    paragraph, _, _ = (wrapped.group(1) if wrapped else text).strip().partition("\n\n")
    return " ".join(_KERNEL_FRAME.sub("", paragraph).split()) or type(error).__name__
