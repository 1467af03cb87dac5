"""tf.Examples as TensorFlow reads them, without the project's own parser."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf


def values_of(serialized: bytes) -> dict[str, list[Any]]:
    """Name -> values of every feature, by name."""
    features = tf.train.Example.FromString(serialized).features.feature
    return {
        name: list(getattr(feature, feature.WhichOneof("kind")).value)
        for name, feature in sorted(features.items())
    }


def examples_in(files: Iterable[Path | str]) -> list[dict[str, list[Any]]]:
    """The tf.Examples of compressed files, in their order."""
    records = tf.data.TFRecordDataset([str(file) for file in files], compression_type="GZIP")
    return [values_of(serialized) for serialized in records.as_numpy_iterator()]
