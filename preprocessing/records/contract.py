"""Names and types of every feature in the TFRecords. Imports neither TensorFlow nor Beam."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

PARTS = ("train", "validation", "test")
"""Parts of the examples, in the order in which they follow each other in time."""

USER_FOLDS = 10
"""Users are hashed into this many folds, so that item means can leave the user's own fold out."""

INDIVIDUAL = "individual"
COLLECTIVE = "collective"
EXTRACTIONS = (INDIVIDUAL, COLLECTIVE)
"""An individual answer describes one entity, a collective answer a group of entities."""


class FeatureType(Enum):
    """Which list of `tf.train.Feature` holds the values."""

    BYTES = "bytes_list"
    FLOAT = "float_list"
    INT64 = "int64_list"


@dataclass(frozen=True)
class Feature:
    """One feature of a record.

    Attributes:
      name: key in `tf.train.Features`.
      type: which list holds the values.
      is_list: True for any number of values, False for exactly one.
      description: what the values mean, with units.
    """

    name: str
    type: FeatureType
    is_list: bool
    description: str


USER_ID = "user_id"
ITEM_ID = "item_id"
LABEL = "label"
RATING = "rating"
HISTORY_ITEM_ID = "history_item_id"
HISTORY_RATING = "history_rating"
USER_SHARE_LIKED = "user_share_liked"
USER_MEAN_RATING = "user_mean_rating"
USER_LOG_COUNT = "user_log_count"
TIMESTAMP = "timestamp"
POSITION = "position"
USER_FOLD = "user_fold"

EXAMPLE_FEATURES = (
    Feature(USER_ID, FeatureType.BYTES, False, "raw user id"),
    Feature(ITEM_ID, FeatureType.BYTES, False, "raw id of the candidate item"),
    Feature(
        LABEL, FeatureType.FLOAT, False, "1 when the rating reaches data.positive_rating, else 0"
    ),
    Feature(RATING, FeatureType.FLOAT, False, "the rating itself"),
    Feature(HISTORY_ITEM_ID, FeatureType.BYTES, True, "items rated before, newest last"),
    Feature(
        HISTORY_RATING, FeatureType.FLOAT, True, "ratings of history_item_id, in the same order"
    ),
    Feature(
        USER_SHARE_LIKED, FeatureType.FLOAT, False, "share of earlier interactions with label 1"
    ),
    Feature(USER_MEAN_RATING, FeatureType.FLOAT, False, "mean rating of earlier interactions"),
    Feature(USER_LOG_COUNT, FeatureType.FLOAT, False, "log(1 + number of earlier interactions)"),
    Feature(TIMESTAMP, FeatureType.INT64, False, "time of the interaction, seconds"),
    Feature(POSITION, FeatureType.INT64, False, "number of the user's earlier interactions"),
    Feature(USER_FOLD, FeatureType.INT64, False, f"hash of the user into {USER_FOLDS} folds"),
)
"""One record per sample of `examples/ctr/<part>/`."""

REQUEST_FEATURES = tuple(
    feature
    for feature in EXAMPLE_FEATURES
    if feature.name
    in {
        USER_ID,
        ITEM_ID,
        HISTORY_ITEM_ID,
        HISTORY_RATING,
        USER_SHARE_LIKED,
        USER_MEAN_RATING,
        USER_LOG_COUNT,
    }
)
"""What a model reads of an example: all that a request to the served model can and must carry."""

ENTITY_ID = "entity_id"
VECTOR = "vector"
EXTRACTION = "extraction"
GROUP_ID = "group_id"

KNOWLEDGE_FEATURES = (
    Feature(ENTITY_ID, FeatureType.BYTES, False, "raw id of the item or user"),
    Feature(VECTOR, FeatureType.FLOAT, True, "knowledge vector, rounded to float16 precision"),
    Feature(EXTRACTION, FeatureType.BYTES, False, "individual or collective"),
    Feature(GROUP_ID, FeatureType.BYTES, False, "group of the entity; empty when it has none"),
)
"""One record per entity of `knowledge/<source>/`."""
