"""Schemas of the examples as TensorFlow Metadata, for TFDV, TFT and TFX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from configs.raw_data import Data
from preprocessing.records import contract
from preprocessing.records.contract import Feature, FeatureType

_TYPES = {
    FeatureType.BYTES: schema_pb2.BYTES,
    FeatureType.FLOAT: schema_pb2.FLOAT,
    FeatureType.INT64: schema_pb2.INT,
}


def examples_schema(features: Sequence[Feature], data: Data) -> schema_pb2.Schema:
    """Schema of examples.

    Args:
      features: what the examples hold.
      data: says how long histories and lists of candidates are, and what attributes are.
    """
    schema = schema_pb2.Schema()
    for feature in features:
        described = schema.feature.add(name=feature.name, type=_TYPES[feature.type])
        described.annotation.comment.append(feature.description)
        if feature.is_list:
            described.value_count.min = 0
            most = _most_values(feature.name, data)
            if most is not None:
                described.value_count.max = most
        else:
            described.presence.min_fraction = 1.0
            described.presence.min_count = 1
            described.shape.dim.add(size=1)
    return schema


def write_schema(path: Path, features: Sequence[Feature], data: Data) -> None:
    """Writes the schema in text format; arguments as for `examples_schema`."""
    text = text_format.MessageToString(examples_schema(features, data))
    path.write_text(text, encoding="utf-8")


def _most_values(name: str, data: Data) -> int | None:
    """The most values of a list; None where nothing bounds it."""
    if name in (contract.HISTORY_ITEM_ID, contract.HISTORY_RATING):
        return data.history_length
    if not name.startswith(contract.PROFILE_PREFIX):
        return data.rerank.length
    attributes = data.profiles.attributes if data.profiles else {}
    attribute = attributes[name.removeprefix(contract.PROFILE_PREFIX)]
    return 1 if attribute.kind == "numeric" else None
