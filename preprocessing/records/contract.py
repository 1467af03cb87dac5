"""Names and types of every feature in the TFRecords. Imports neither TensorFlow nor Beam."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from configs.command_line import CommandError
from configs.data import Data


class DamagedRecords(CommandError):
    """A file of the work directory is missing, cut off or holds something else than it should.

    The message names the file, the place in it and what to do.
    """


PARTS = ("train", "validation", "test")
"""Parts of the examples, in the order in which they follow each other in time."""

USER_FOLDS = 10
"""Users are hashed into this many folds, so that item means can leave the user's own fold out."""

INDIVIDUAL = "individual"
COLLECTIVE = "collective"
EXTRACTIONS = (INDIVIDUAL, COLLECTIVE)
"""An individual answer describes one entity, a collective answer a group of entities."""


LONGEST_ID = 500
"""Bytes of UTF-8. Arrays of fixed width take four times as many for each id beside the longest."""


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
      aligned_with: the list whose values these belong to one by one; None if there is none.
    """

    name: str
    type: FeatureType
    is_list: bool
    description: str
    aligned_with: str | None = None


CTR, RERANK, RETRIEVAL = "ctr", "rerank", "retrieval"
EXAMPLE_KINDS = (CTR, RERANK, RETRIEVAL)
"""Kinds of examples: one candidate each, a list of candidates each, liked items only."""

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
PROFILE_PREFIX = "profile_"
LABEL_PREFIX = "label_"

STATISTIC_RANGES = {USER_SHARE_LIKED: (0.0, 1.0), USER_LOG_COUNT: (0.0, 30.0)}
"""What these can be: a logarithm beyond 30 would be that of more than ten trillion interactions."""

LARGEST_RATING = 1e6
"""Ratings of logs and requests, and their mean, are at most so far from 0.

Products of larger ones are soon beyond numbers of 32 bits.
"""

NO_ID = -1
"""Pads lists of ids that are whole numbers, as "" pads those of strings."""

_USER = Feature(USER_ID, FeatureType.BYTES, False, "raw user id")
_BEFORE = (
    Feature(HISTORY_ITEM_ID, FeatureType.BYTES, True, "items of earlier interactions, newest last"),
    Feature(
        HISTORY_RATING,
        FeatureType.FLOAT,
        True,
        "ratings of history_item_id, in the same order",
        HISTORY_ITEM_ID,
    ),
    Feature(
        USER_SHARE_LIKED, FeatureType.FLOAT, False, "share of earlier interactions with label 1"
    ),
    Feature(USER_MEAN_RATING, FeatureType.FLOAT, False, "mean rating of earlier interactions"),
    Feature(USER_LOG_COUNT, FeatureType.FLOAT, False, "log(1 + number of earlier interactions)"),
    Feature(
        TIMESTAMP, FeatureType.INT64, False, "time of the interaction, seconds since 1970, or 0"
    ),
    Feature(POSITION, FeatureType.INT64, False, "number of the user's earlier interactions"),
    Feature(USER_FOLD, FeatureType.INT64, False, f"hash of the user into {USER_FOLDS} folds"),
)
"""The user just before an interaction, and when that was; for a list, its first interaction."""

EXAMPLE_FEATURES = (
    _USER,
    Feature(ITEM_ID, FeatureType.BYTES, False, "raw id of the candidate item"),
    Feature(
        LABEL,
        FeatureType.FLOAT,
        False,
        "1 when the rating reaches data.positive_rating, or as the label column says, else 0",
    ),
    Feature(RATING, FeatureType.FLOAT, False, "the rating itself; 0 for a sampled negative"),
    *_BEFORE,
)
"""One record per sample of `examples/ctr/<part>/`."""

RERANK_FEATURES = (
    _USER,
    Feature(ITEM_ID, FeatureType.BYTES, True, "raw ids of the candidate items, shuffled"),
    Feature(
        LABEL, FeatureType.FLOAT, True, "labels of the candidates; 0 for sampled ones", ITEM_ID
    ),
    Feature(
        RATING, FeatureType.FLOAT, True, "ratings of the candidates; 0 for sampled ones", ITEM_ID
    ),
    *_BEFORE,
)
"""One record per list of `examples/rerank/<part>/`."""

RETRIEVAL_FEATURES = (
    _USER,
    Feature(ITEM_ID, FeatureType.BYTES, False, "raw id of an item that the user liked"),
    *_BEFORE,
)
"""One record per liked item of `examples/retrieval/<part>/`."""

FEATURES_OF_KIND = {
    CTR: EXAMPLE_FEATURES,
    RERANK: RERANK_FEATURES,
    RETRIEVAL: RETRIEVAL_FEATURES,
}
"""Features by kind of examples; extra labels and the user's profile come after them."""


def extra_label_feature(name: str) -> Feature:
    """The feature of CTR examples that holds one more label of the interaction.

    Args:
      name: the label, as `data.labels` names it.
    """
    description = f"further label '{name}', 0 or 1; 0 for a sampled negative"
    return Feature(f"{LABEL_PREFIX}{name}", FeatureType.FLOAT, False, description)


def profile_feature(name: str, kind: str) -> Feature:
    """The feature that holds an attribute of the user's profile.

    Args:
      name: the attribute, as `data.profiles.attributes` names it.
      kind: "categorical" or "numeric".
    """
    feature_type = FeatureType.BYTES if kind == "categorical" else FeatureType.FLOAT
    description = f"user attribute '{name}'; empty when it is not known"
    return Feature(f"{PROFILE_PREFIX}{name}", feature_type, True, description)


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


def features_of(kind: str, data: Data) -> tuple[Feature, ...]:
    """All features of a kind of examples, extra labels and the user's profile included.

    Args:
      kind: ctr, rerank or retrieval.
      data: names the extra labels, which only CTR examples have, and the profile's attributes.
    """
    labels = map(extra_label_feature, data.labels) if kind == CTR else ()
    attributes = data.profiles.attributes if data.profiles else {}
    profile = (profile_feature(name, attribute.kind) for name, attribute in attributes.items())
    return (*FEATURES_OF_KIND[kind], *labels, *profile)
