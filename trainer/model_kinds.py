"""What training and evaluation do otherwise for each kind of model, in one object for each."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow_recommenders as tfrs

from preprocessing.records.contract import CTR, RERANK, RETRIEVAL
from trainer.prediction import ListPredictor, Predictor, RankPredictor, SamplePredictor
from trainer.predictions import (
    ListPredictions,
    Predictions,
    RetrievalPredictions,
    SamplePredictions,
)


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
