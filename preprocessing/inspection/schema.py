"""Schemas of examples: TensorFlow Metadata in text format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from preprocessing.records.contract import FeatureType
from preprocessing.records.errors import DamagedRecords

_TYPES = {
    schema_pb2.BYTES: FeatureType.BYTES,
    schema_pb2.FLOAT: FeatureType.FLOAT,
    schema_pb2.INT: FeatureType.INT64,
}


@dataclass(frozen=True)
class SchemaFeature:
    """What a schema says of one feature.

    Attributes:
      type: which list holds the values.
      minimum: values of a record, at least.
      maximum: values of a record, at most; None for any number.
    """

    type: FeatureType
    minimum: int
    maximum: int | None

    @property
    def count(self) -> str:
        """The number of values, for people."""
        if self.minimum == self.maximum:
            return str(self.minimum)
        return f"{self.minimum} to {'any number' if self.maximum is None else self.maximum}"


def read_schema(path: Path) -> dict[str, SchemaFeature]:
    """Feature -> what the schema says of it.

    Raises:
      DamagedRecords: the file is missing or no schema, or a feature has no type.
    """
    try:
        schema = text_format.Parse(path.read_text(encoding="utf-8"), schema_pb2.Schema())
        return {feature.name: _feature(feature) for feature in schema.feature}
    except (OSError, UnicodeDecodeError, text_format.ParseError, KeyError) as error:
        raise DamagedRecords(
            f"{path}: not a schema of examples ({error}); run 'python -m preprocessing examples' "
            "again"
        ) from error


def _feature(feature: schema_pb2.Feature) -> SchemaFeature:
    if feature.HasField("shape"):
        size = 1
        for dimension in feature.shape.dim:
            size *= dimension.size
        return SchemaFeature(_TYPES[feature.type], size, size)
    count = feature.value_count
    maximum = count.max if count.HasField("max") else None
    return SchemaFeature(_TYPES[feature.type], count.min, maximum)
