"""Parsing examples in TensorFlow: ragged lists become padded tensors with masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from preprocessing.records.contract import (
    EXAMPLE_FEATURES,
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    ITEM_ID,
    PROFILE_PREFIX,
    Feature,
    FeatureType,
)
from preprocessing.records.tfrecord_file import check_intact

HISTORY_MASK = "history_mask"
CANDIDATE_MASK = "candidate_mask"
"""Names of masks that `with_masks` adds."""

_DTYPES = {FeatureType.BYTES: tf.string, FeatureType.FLOAT: tf.float32, FeatureType.INT64: tf.int64}
_PARSING_CALLS = 2
_PREFETCHED_BATCHES = 2


def parse_examples(
    serialized: tf.Tensor,
    features: Sequence[Feature] = EXAMPLE_FEATURES,
    widths: Mapping[str, int] | None = None,
    longest_history: int | None = None,
) -> dict[str, tf.Tensor]:
    """Parses a batch of serialized examples.

    Args:
      serialized: [batch] strings.
      features: which features to read, others are ignored: those of a kind of examples
        (`FEATURES_OF_KIND`), `REQUEST_FEATURES` for requests, which have no label, or a choice.
      widths: list feature -> width of its tensor, where it is not to be that of the batch's longest
        list. Longer histories lose their oldest interactions, other lists their last values.
      longest_history: longer histories lose their oldest interactions; None keeps all.

    Returns:
      Feature name -> tensor: [batch] for single values; [batch, width] for lists, padded at the end
      with b"" or 0; NaN, which is "not known", for numbers of the user's profile.

    Raises:
      tf.errors.InvalidArgumentError: a record lacks a feature, has one of another type, or has
        lists of different lengths where their values belong together.
    """
    specification: dict[str, tf.io.FixedLenFeature | tf.io.RaggedFeature] = {}
    for feature in features:
        dtype = _DTYPES[feature.type]
        specification[feature.name] = (
            tf.io.RaggedFeature(dtype) if feature.is_list else tf.io.FixedLenFeature([], dtype)
        )
    parsed = tf.io.parse_example(serialized, specification)
    with tf.control_dependencies(_alignment_checks(parsed, features)):
        parsed = {name: tf.identity(value) for name, value in parsed.items()}
    if longest_history is not None:
        for name in {HISTORY_ITEM_ID, HISTORY_RATING} & parsed.keys():
            parsed[name] = parsed[name][:, -longest_history:]
    return {
        name: _padded(value, name, (widths or {}).get(name))
        if isinstance(value, tf.RaggedTensor)
        else value
        for name, value in parsed.items()
    }


def with_masks(parsed: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Adds what tells values from padding.

    Args:
      parsed: result of `parse_examples`.

    Returns:
      The same, with `history_mask` where there is a history, and `candidate_mask` where there are
      lists of candidates: bool [batch, width], True for values.
    """
    masks = {}
    if HISTORY_ITEM_ID in parsed:
        masks[HISTORY_MASK] = parsed[HISTORY_ITEM_ID] != b""
    if ITEM_ID in parsed and parsed[ITEM_ID].shape.rank == 2:
        masks[CANDIDATE_MASK] = parsed[ITEM_ID] != b""
    return {**parsed, **masks}


def as_text(values: np.ndarray) -> np.ndarray:
    """Texts of parsed values, whatever their alphabet: bytes [...], UTF-8 -> str [...].

    NumPy's own `astype(str)` reads bytes as ASCII, with a quarter of the memory.
    """
    try:
        return values.astype(str)
    except UnicodeDecodeError:
        return np.char.decode(values.astype(np.bytes_), "utf-8")


def example_dataset(
    files: Sequence[str | Path],
    batch_size: int,
    features: Sequence[Feature] = EXAMPLE_FEATURES,
    widths: Mapping[str, int] | None = None,
) -> tf.data.Dataset:
    """Parsed batches of examples, in the order of the files.

    Args:
      files: GZIP TFRecord files, e.g. `WorkDirectory(...).examples.shards("test")`.
      batch_size: examples per batch; the last batch may be smaller.
      features: see `parse_examples`.
      widths: see `parse_examples`.

    Raises:
      DamagedRecords: a file is missing or cut off.
    """
    paths = [Path(file) for file in files]
    for path in paths:
        check_intact(path)
    dataset = tf.data.TFRecordDataset([str(path) for path in paths], compression_type="GZIP")
    dataset = dataset.batch(batch_size)
    dataset = dataset.map(
        lambda serialized: parse_examples(serialized, features, widths),
        num_parallel_calls=_PARSING_CALLS,
        deterministic=True,
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(_PREFETCHED_BATCHES).with_options(options)


def _alignment_checks(
    parsed: Mapping[str, tf.Tensor | tf.RaggedTensor], features: Sequence[Feature]
) -> list[tf.Operation]:
    """Fails where a record has not as many values as its list that they belong to."""
    checks = []
    for feature in features:
        other = feature.aligned_with
        if other is None or other not in parsed:
            continue
        lengths = [parsed[name].row_lengths() for name in (feature.name, other)]
        wrong = tf.where(tf.not_equal(*lengths))[:1, 0]
        checks.append(
            tf.raw_ops.Assert(
                condition=tf.equal(tf.size(wrong), 0),
                data=[
                    f"{feature.name} and {other} of an example must have the same length. Received "
                    "in this row of the batch these lengths:",
                    wrong,
                    *(tf.gather(list_lengths, wrong) for list_lengths in lengths),
                ],
            )
        )
    return [check for check in checks if check is not None]  # eager execution has checked already


def _padded(lists: tf.RaggedTensor, name: str, width: int | None) -> tf.Tensor:
    is_profile_number = name.startswith(PROFILE_PREFIX) and lists.dtype == tf.float32
    padding = float("nan") if is_profile_number else None
    if width is None:
        return lists.to_tensor(default_value=padding)
    if name in (HISTORY_ITEM_ID, HISTORY_RATING):
        lists = lists[:, -width:]
    return lists.to_tensor(default_value=padding, shape=[None, width])
