"""Requests with lists of candidates, and small re-ranking models, for the tests of models/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from models.building import build_model
from models.reranking import RerankingModel
from tests.models.builders import (
    ITEM_IDS,
    Tensors,
    model_tables,
    randomise,
    raw_features,
    small_scenario,
)

LISTS, SIZE = 5, 4
LABELS = np.array(
    [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]], np.float32
)


def raw_lists(lists: int = LISTS, length: int = 6, seed: int = 0) -> Tensors:
    """Lists of 4, 2, 3, 1 and again 4 candidates, padded behind; known and unknown ids."""
    random = np.random.default_rng(seed)
    ids = random.choice([*ITEM_IDS, "unseen"], size=[lists, SIZE])
    sizes = np.resize([4, 2, 3, 1], [lists, 1])
    padded = np.where(np.arange(SIZE) < sizes, ids, "")
    return raw_features(lists, length, seed=seed) | {"item_id": tf.constant(padded)}


def small_reranking_model(
    backbone: str = "prm",
    list_loss: str = "pointwise",
    seed: int = 0,
    with_profiles: bool = False,
    backbone_options: Mapping[str, object] | None = None,
    **options: Any,
) -> RerankingModel:
    """A built model with reproducible weights, none of which is zero."""
    own = {"units": 8} | dict(backbone_options or {})
    scenario = small_scenario(backbone=backbone, backbone_options=own, **options)
    training = scenario.training.model_copy(update={"list_loss": list_loss})
    scenario = scenario.model_copy(update={"training": training})
    model = build_model(scenario, model_tables(with_profiles))
    assert isinstance(model, RerankingModel)
    model(raw_lists())
    randomise(model.trainable_weights, seed, scale=0.15)
    return model
