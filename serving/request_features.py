"""Inputs and outputs of a served model by name, and how its graph checks the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from models.inputs import InputPreparation
from preprocessing.records.contract import (
    FEATURES_OF_KIND,
    HISTORY_RATING,
    ITEM_ID,
    LARGEST_RATING,
    PROFILE_PREFIX,
    REQUEST_FEATURES,
    STATISTIC_RANGES,
    USER_MEAN_RATING,
    USER_SHARE_LIKED,
    Feature,
    FeatureType,
    profile_feature,
)

SCORE = "score"

RETRIEVED_ITEMS = 100
"""Items that a search gives; fewer when the catalogue has no more."""

_DTYPES = {FeatureType.BYTES: tf.string, FeatureType.FLOAT: tf.float32}
_REQUESTED = {feature.name for feature in REQUEST_FEATURES}
_FROM_RATINGS = {HISTORY_RATING, USER_SHARE_LIKED, USER_MEAN_RATING}


def request_features(preparation: InputPreparation, kind: str) -> tuple[Feature, ...]:
    """What a model reads of an example, profile included, and so what a request must carry.

    Of implicit feedback that is no rating and nothing that is made from ratings.

    Args:
      preparation: the model's preparation of raw features.
      kind: the model's kind of examples; candidates of "rerank" are lists.
    """
    read = _REQUESTED if preparation.has_ratings else _REQUESTED - _FROM_RATINGS
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


def checked_inputs(
    raw: Mapping[str, tf.Tensor],
    specifications: Mapping[str, tf.TensorSpec],
    features: Sequence[Feature],
    largest: int | None = None,
) -> dict[str, tf.Tensor]:
    """Inputs of a signature that fail where they contradict it, or each other.

    TensorFlow Serving runs whatever it is sent: it does not compare shapes with a signature's, and
    where operations broadcast, a request that makes no sense gets a score. So the graph itself
    refuses, with INVALID_ARGUMENT and the input's name: a shape that is not the specification's;
    inputs of different numbers of rows; lists of different lengths where their values belong
    together; numbers that are not finite; and ratings and statistics that cannot be. Not known
    numbers of a profile are NaN, and so is a share of liked items that the model shall count; what
    stands beside padding may be anything.

    Args:
      raw: input name -> tensor.
      specifications: input name -> specification.
      features: what the inputs mean.
      largest: most candidates, or rows where there are none; None for any number.

    Returns:
      The same tensors, which exist only after all checks; 0 beside padding.
    """
    sent = {
        name: _with_shape(name, raw[name], specification.shape)
        for name, specification in specifications.items()
    }
    lists = {feature.name: feature.aligned_with for feature in features}
    checks = _row_checks(sent)
    if largest is not None:
        checks.append(_not_larger(sent, largest))
    for name, values in sent.items():
        other = lists.get(name)
        if other in sent:
            same_shape = _same_shape(name, values, other, sent[other])
            # Padding is told by the other list, so their shapes are compared first.
            with tf.control_dependencies([same_shape]):
                sent[name] = tf.where(sent[other] == "", tf.zeros_like(values), values)
        if values.dtype.is_floating:
            checks.append(_finite(name, sent[name]))
        if name in STATISTIC_RANGES:
            checks.append(_in_range(name, sent[name]))
        if name in (HISTORY_RATING, USER_MEAN_RATING):
            # Infinity is told as what it is.
            with tf.control_dependencies(checks[-1:]):
                checks.append(_not_beyond(name, sent[name], LARGEST_RATING))
    with tf.control_dependencies(checks):
        return {name: tf.identity(values) for name, values in sent.items()}


def _with_shape(name: str, values: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    # A placeholder in between, because a session feeds what it likes, and an optimizer that takes
    # the specification for the truth would drop the check.
    unknown = tf.raw_ops.PlaceholderWithDefault(
        input=values, shape=tf.TensorShape(None), name=f"input/{name}"
    )
    return tf.ensure_shape(unknown, shape)


def _not_larger(sent: Mapping[str, tf.Tensor], largest: int) -> tf.Operation:
    name = ITEM_ID if ITEM_ID in sent else next(iter(sent))
    size = tf.size(sent[name])
    return tf.raw_ops.Assert(
        condition=size <= largest,
        data=[f"{name} must have at most {largest} values. Received:", size],
    )


def _row_checks(sent: Mapping[str, tf.Tensor]) -> list[tf.Operation]:
    """Fails unless all inputs whose number of rows is free have equally many."""
    rows = {
        name: tf.size(values) if values.shape.rank == 1 else tf.shape(values)[0]
        for name, values in sent.items()
        if values.shape[0] is None
    }
    if len(rows) < 2:
        return []
    numbers = tf.stack(list(rows.values()))
    return [
        tf.raw_ops.Assert(
            condition=tf.reduce_all(tf.equal(numbers, numbers[0])),
            data=[f"{', '.join(rows)} must have equally many rows. Received:", numbers],
            summarize=len(rows),
        )
    ]


def _same_shape(name: str, values: tf.Tensor, other: str, other_values: tf.Tensor) -> tf.Operation:
    shapes = tf.shape(values), tf.shape(other_values)
    return tf.raw_ops.Assert(
        condition=tf.reduce_all(tf.equal(*shapes)),
        data=[f"{name} and {other} must have the same shape. Received:", *shapes],
    )


def _finite(name: str, values: tf.Tensor) -> tf.Tensor:
    message = f"{name} must be finite numbers"
    if name.startswith(PROFILE_PREFIX):
        values = tf.where(tf.math.is_nan(values), 0.0, values)
        message = f"{name} must be finite, or NaN where it is not known"
    elif name == USER_SHARE_LIKED:
        values = tf.where(tf.math.is_nan(values), 0.0, values)
        message = f"{name} must be finite, or NaN, which lets the model count it in the history"
    return tf.raw_ops.CheckNumerics(tensor=values, message=message)


def _not_beyond(name: str, values: tf.Tensor, limit: float) -> tf.Operation:
    largest = tf.reduce_max(tf.abs(values))
    return tf.raw_ops.Assert(
        condition=largest <= limit,
        data=[f"{name} must be between {-limit:g} and {limit:g}. Received:", largest],
    )


def _in_range(name: str, values: tf.Tensor) -> tf.Operation:
    low, high = STATISTIC_RANGES[name]
    # NaN is neither below nor above.
    wrong = (values < low) | (values > high)
    return tf.raw_ops.Assert(
        condition=~tf.reduce_any(wrong),
        data=[
            f"{name} must be between {low:g} and {high:g}. Received:",
            tf.boolean_mask(values, wrong),
        ],
    )
