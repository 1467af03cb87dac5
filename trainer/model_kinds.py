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
            has_labels=False,
            has_match=False,
        ),
    )
}


def predictor_of(model: tfrs.models.Model) -> Predictor:
    """What says, for one model, what it predicts; its graph is traced once."""
    return MODEL_KINDS[model.kind].predictor(model)
