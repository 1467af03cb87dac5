"""Parsing CTR examples in TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from preprocessing.records.contract import EXAMPLE_FEATURES, Feature, FeatureType
from preprocessing.records.tfrecord_file import check_complete

_DTYPES = {FeatureType.BYTES: tf.string, FeatureType.FLOAT: tf.float32, FeatureType.INT64: tf.int64}
_PARSING_CALLS = 2
_PREFETCHED_BATCHES = 2


def parse_examples(
    serialized: tf.Tensor, features: Sequence[Feature] = EXAMPLE_FEATURES
) -> dict[str, tf.Tensor]:
    """Parses a batch of serialized CTR examples.

    Args:
      serialized: [batch] strings.
      features: which features to read; `REQUEST_FEATURES` for requests, which have no label.

    Returns:
      Feature name -> tensor: [batch] for single values; [batch, longest history of the batch] for
      `history_item_id`, padded at the end with b"", and `history_rating`, padded with 0.

    Raises:
      tf.errors.InvalidArgumentError: a record lacks a feature or has one of another type.
    """
    specification: dict[str, tf.io.FixedLenFeature | tf.io.RaggedFeature] = {}
    for feature in features:
        dtype = _DTYPES[feature.type]
        specification[feature.name] = (
            tf.io.RaggedFeature(dtype) if feature.is_list else tf.io.FixedLenFeature([], dtype)
        )
    parsed = tf.io.parse_example(serialized, specification)
    return {
        name: value.to_tensor() if isinstance(value, tf.RaggedTensor) else value
        for name, value in parsed.items()
    }


def example_dataset(files: Sequence[str | Path], batch_size: int) -> tf.data.Dataset:
    """Parsed batches of CTR examples, in the order of the files.

    Args:
      files: GZIP TFRecord files, e.g. `WorkDirectory(...).examples.shards("test")`.
      batch_size: examples per batch; the last batch may be smaller.

    Raises:
      DamagedRecords: a file is missing or cut off.
    """
    paths = [Path(file) for file in files]
    for path in paths:
        check_complete(path)
    dataset = tf.data.TFRecordDataset([str(path) for path in paths], compression_type="GZIP")
    dataset = dataset.batch(batch_size)
    dataset = dataset.map(parse_examples, num_parallel_calls=_PARSING_CALLS, deterministic=True)
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(_PREFETCHED_BATCHES).with_options(options)
