"""A small model of every kind with a batch for each, for tests of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from models.backbones import BACKBONES
from models.rerankers import RERANKERS
from models.scoring_model import ScoringModel
from tests.models.builders import Tensors, raw_features, small_model
from tests.models.raw_lists import LABELS, raw_lists, small_reranking_model
from tests.models.retrieval.models import small_retrieval_model

COUNT = 12

_EVERYTHING: Mapping[str, Any] = {
    "sources": ("item", "plot", "user"),
    "with_profiles": True,
    "factor_gate": True,
    "zero_start": True,
    "alignment_weight": 0.1,
}
_DROPOUT: Mapping[str, Any] = {
    "dropout_rate": 0.1,
    "id_dropout_rate": 0.2,
    "id_dropout_hides": "interactions",
    "knowledge_dropout_rate": 0.2,
}
NAMES = (*BACKBONES, *RERANKERS, "two_tower")


@dataclass(frozen=True)
class TrainableModel:
    """A built model and a batch.

    Attributes:
      model: with random weights.
      features: prepared.
      labels: as the model's kind wants them.
    """

    model: ScoringModel
    features: Tensors
    labels: tf.Tensor


def trainable_model(name: str, dropout: bool = True, **options: Any) -> TrainableModel:
    """The model of a name with every option that adds weights, or other `options`."""
    tf.keras.utils.set_random_seed(0)  # of dropout
    chosen = {**(options or _EVERYTHING), **(_DROPOUT if dropout else {})}
    if name in RERANKERS:
        model, raw, labels = small_reranking_model(name, **chosen), raw_lists(), LABELS
    elif name == "two_tower":
        model, raw = small_retrieval_model(**chosen), raw_features(COUNT)
        labels = np.ones(COUNT, np.float32)
    else:
        chosen.setdefault("match", "ridge")
        model, raw = small_model(backbone=name, **chosen), raw_features(COUNT)
        columns = [1 + len(model.tasks)] if model.tasks else []
        labels = np.resize([0, 1, 1, 0, 1], [COUNT, *columns]).astype(np.float32)
    return TrainableModel(model, model.inputs_preparation(raw), tf.constant(labels))
