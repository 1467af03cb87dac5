"""From a model and prepared examples to predictions, by kind of model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError
from preprocessing.records.contract import CTR, LABEL, RERANK, RETRIEVAL
from trainer.examples import PreparedExamples
from trainer.metrics import rank_positives
from trainer.predictions import (
    ListPredictions,
    Predictions,
    RetrievalPredictions,
    SamplePredictions,
)

_BATCH = 4096


class NotFiniteError(CommandError):
    """A number is not finite; the message says which."""


def predict(model: tfrs.models.Model, examples: PreparedExamples) -> Predictions:
    """What the model says about the examples of a part, in their order.

    Raises:
      NotFiniteError: a score is infinite or NaN.
    """
    return predictor(model)(examples)


def predictor(model: tfrs.models.Model) -> Callable[[PreparedExamples], Predictions]:
    """`predict` for a part that comes in batches: what all batches share is computed once.

    Raises:
      NotFiniteError: an item's vector is infinite or NaN; the result raises it for scores.
    """
    if model.kind == RETRIEVAL:
        return functools.partial(_predict_ranks, model, finite(model.all_item_vectors()[1:]))
    return functools.partial(_predict_scores, model)


def _predict_scores(model: tfrs.models.Model, examples: PreparedExamples) -> Predictions:
    scores = _probabilities(model, examples)
    if model.kind == RERANK:
        return ListPredictions(examples.user_ids, examples.item_ids, examples.labels, scores[LABEL])
    labels = examples.label_columns(model.tasks)
    return SamplePredictions(
        examples.user_ids,
        examples.item_ids,
        labels.pop(LABEL),
        scores.pop(LABEL),
        task_labels=labels,
        task_scores=scores,
    )


def _probabilities(model: tfrs.models.Model, examples: PreparedExamples) -> dict[str, np.ndarray]:
    """Scores of the label and of further tasks: name -> float32 [n], or [lists, length]."""

    def by_label(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        of_tasks = model.task_probabilities(features) if model.kind == CTR else {}
        return {LABEL: model.probabilities(features), **of_tasks}

    score = _compiled(model, "_scores_by_label", by_label)
    batches = [score(batch) for batch in examples.batches(_BATCH)]
    return {
        name: finite(np.concatenate([batch[name].numpy() for batch in batches]))
        for name in batches[0]
    }


def _predict_ranks(
    model: tfrs.models.Model, item_vectors: np.ndarray, examples: PreparedExamples
) -> RetrievalPredictions:
    if examples.history_rows is None:
        raise ValueError("retrieval is judged on examples of retrieval, with history_rows")
    users = _compiled(model, "_vectors_of_users", model.user_vectors)
    user_vectors = [users(batch).numpy() for batch in examples.batches(_BATCH)]
    among_all, among_new = rank_positives(
        finite(np.concatenate(user_vectors)),
        item_vectors,
        examples.features["item_row"],
        examples.history_rows,
    )
    return RetrievalPredictions(examples.user_ids, examples.item_ids, among_all, among_new)


def _compiled(
    model: tfrs.models.Model, name: str, function: Callable[..., object]
) -> tf.types.experimental.GenericFunction:
    """The function as a graph, traced once per model however often it is validated."""
    if not hasattr(model, name):
        setattr(model, name, tf.function(function, reduce_retracing=True))
    return getattr(model, name)


def finite(scores: np.ndarray) -> np.ndarray:
    """The scores, if they can be judged.

    Raises:
      NotFiniteError: one of them is infinite or NaN.
    """
    if not np.isfinite(scores).all():
        raise NotFiniteError("a score is not finite. Try a lower training.learning_rate")
    return scores
