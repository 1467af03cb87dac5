"""The inputs of a served model: raw ids and numbers, by name."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.inputs import InputPreparation
from preprocessing.records.contract import (
    FEATURES_OF_KIND,
    HISTORY_RATING,
    ITEM_ID,
    REQUEST_FEATURES,
    USER_MEAN_RATING,
    USER_SHARE_LIKED,
    Feature,
    FeatureType,
    profile_feature,
)

_DTYPES = {FeatureType.BYTES: tf.string, FeatureType.FLOAT: tf.float32}
_REQUESTED = {feature.name for feature in REQUEST_FEATURES}
_OF_RATINGS = {HISTORY_RATING, USER_SHARE_LIKED, USER_MEAN_RATING}


def request_features(preparation: InputPreparation, kind: str) -> tuple[Feature, ...]:
    """What a model reads of an example, profile included, and so what a request must carry.

    Of implicit feedback that is no rating and nothing that is made from ratings.

    Args:
      preparation: the model's preparation of raw features.
      kind: the model's kind of examples; candidates of "rerank" are lists.
    """
    read = _REQUESTED if preparation.has_ratings else _REQUESTED - _OF_RATINGS
    features = [feature for feature in FEATURES_OF_KIND[kind] if feature.name in read]
    profile = [
        profile_feature(name, attribute.kind)
        for name, attribute in preparation.profile_attributes.items()
    ]
    return (*features, *profile)


def input_specifications(
    features: Sequence[Feature], users: int | None, candidates: Sequence[int | None] | None
) -> dict[str, tf.TensorSpec]:
    """Inputs of a signature, by name.

    Args:
      features: what the model reads.
      users: batch size of the user's features; 1 for one user with many candidates, None for any.
      candidates: shape of `item_id`; None for a signature without candidates.
    """
    specifications = {}
    for feature in features:
        shape: Sequence[int | None] | None = [users, None] if feature.is_list else [users]
        if feature.name == ITEM_ID:
            shape = candidates
        if shape is not None:
            specifications[feature.name] = tf.TensorSpec(
                shape, _DTYPES[feature.type], name=feature.name
            )
    return specifications
