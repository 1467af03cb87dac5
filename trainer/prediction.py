"""From a model and prepared examples to predictions, by kind of model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError
from preprocessing.records.contract import CTR, LABEL, RERANK, RETRIEVAL
from trainer.examples import PreparedExamples
from trainer.list_predictions import ListPredictions
from trainer.predictions import Predictions
from trainer.retrieval_metrics import rank_positives
from trainer.retrieval_predictions import RetrievalPredictions
from trainer.sample_predictions import SamplePredictions

_BATCH = 4096


class NotFiniteError(CommandError):
    """A number is not finite; the message says which."""


def predict(model: tfrs.models.Model, examples: PreparedExamples) -> Predictions:
    """What the model says about the examples of a part, in their order.

    Raises:
      NotFiniteError: a score is infinite or NaN.
    """
    if model.kind == RETRIEVAL:
        return _predict_ranks(model, examples)
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
        name: _finite(np.concatenate([batch[name].numpy() for batch in batches]))
        for name in batches[0]
    }


def _predict_ranks(model: tfrs.models.Model, examples: PreparedExamples) -> RetrievalPredictions:
    if examples.history_rows is None:
        raise ValueError("retrieval is judged on examples of retrieval, with history_rows")
    users = _compiled(model, "_vectors_of_users", model.user_vectors)
    user_vectors = [users(batch).numpy() for batch in examples.batches(_BATCH)]
    among_all, among_new = rank_positives(
        _finite(np.concatenate(user_vectors)),
        _finite(model.all_item_vectors()[1:]),
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


def _finite(scores: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise NotFiniteError("a score is not finite. Try a lower training.learning_rate")
    return scores
