"""Retrieval models for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.building import build_model
from models.retrieving import RetrievalModel
from tests.models.builders import model_tables, randomise, raw_features, small_scenario

ARMS: dict[str, dict[str, Any]] = {
    "no knowledge": {"adapter": "none"},
    "hein": {},
    "all options": {
        "sources": ("item", "plot", "user"),
        "history_knowledge": True,
        "factor_gate": True,
        "zero_start": True,
        "alignment_weight": 0.1,
        "with_profiles": True,
        "towers": {"pooling": "mean"},
    },
    "no ids": {"adapter": "replace_id", "sources": ("item",)},
    "inner product": {"towers": {"normalize": False, "temperature": 1.5}},
}
"""Options of small retrieval models that together show all of them."""

SMALL_TOWERS = {"output_units": 4, "interest_units": 5}


def small_retrieval_model(
    seed: int = 0,
    with_profiles: bool = False,
    towers: Mapping[str, object] | None = None,
    **options: Any,
) -> RetrievalModel:
    """A model over the tiny catalogue with reproducible weights, none of which is zero.

    Args:
      seed: of the weights.
      with_profiles: whether user profiles are inputs.
      towers: options of the two towers.
      **options: of `tests.models.builders.small_scenario`.
    """
    own = SMALL_TOWERS | dict(towers or {})
    scenario = small_scenario(backbone="two_tower", backbone_options=own, **options)
    model = build_model(scenario, model_tables(with_profiles))
    assert isinstance(model, RetrievalModel)
    model(raw_features(2))
    randomise(model.trainable_weights, seed, scale=0.4)
    return model
