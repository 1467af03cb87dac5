"""Schema of the examples as TensorFlow Metadata, for TFDV, TFT and TFX."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from preprocessing.records import contract

_TYPES = {
    contract.FeatureType.BYTES: schema_pb2.BYTES,
    contract.FeatureType.FLOAT: schema_pb2.FLOAT,
    contract.FeatureType.INT64: schema_pb2.INT,
}


def examples_schema(history_length: int) -> schema_pb2.Schema:
    """Schema of CTR examples.

    Args:
      history_length: the most interactions that a history holds.
    """
    schema = schema_pb2.Schema()
    for feature in contract.EXAMPLE_FEATURES:
        described = schema.feature.add(name=feature.name, type=_TYPES[feature.type])
        described.annotation.comment.append(feature.description)
        if feature.is_list:
            described.value_count.min = 0
            described.value_count.max = history_length
        else:
            described.presence.min_fraction = 1.0
            described.presence.min_count = 1
            described.shape.dim.add(size=1)
    return schema


def write_schema(path: Path, history_length: int) -> None:
    """Writes the schema in text format."""
    path.write_text(text_format.MessageToString(examples_schema(history_length)), encoding="utf-8")
