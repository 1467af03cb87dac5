"""What every record of a file must be: parsed, with the features of its schema."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from google.protobuf.message import DecodeError

from preprocessing.checking.example_message import Example
from preprocessing.inspection.schema import SchemaFeature
from preprocessing.records.contract import FeatureType

Record: TypeAlias = Mapping[str, Sequence]
"""Feature -> its values: bytes, floats or integers."""


class BrokenRule(Exception):
    """A record is not what it must be.

    Attributes:
      check: a fixed name that can be counted.
      message: what is wrong.
    """

    def __init__(self, check: str, message: str):
        super().__init__(message)
        self.check = check
        self.message = message


def read_record(serialized: bytes, schema: Mapping[str, SchemaFeature]) -> Record:
    """Parses a record and holds it against its schema.

    Raises:
      BrokenRule: it cannot be parsed; a feature is missing, unknown, of another type, has too few
        or too many values, or a number that is not finite.
    """
    try:
        features = Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise BrokenRule("unreadable_record", "not a serialized tf.train.Example") from error
    record = {}
    for name, expected in schema.items():
        if name not in features:
            raise BrokenRule("missing_feature", f"feature '{name}' is missing")
        kind = features[name].WhichOneof("kind")
        if kind != expected.type.value:
            raise BrokenRule(
                "wrong_type", f"feature '{name}' is a {kind}, its schema says {expected.type.value}"
            )
        values = getattr(features[name], kind).value
        count = len(values)
        if count < expected.minimum or (expected.maximum is not None and count > expected.maximum):
            raise BrokenRule(
                "wrong_count",
                f"feature '{name}' has {count} values, its schema says {expected.count}",
            )
        # The sum of finite float32 numbers is finite in float64.
        if expected.type is FeatureType.FLOAT and not math.isfinite(sum(values)):
            raise BrokenRule("not_finite", f"feature '{name}' holds a number that is not finite")
        record[name] = values
    if len(features) != len(record):
        unknown = sorted(set(features) - set(record))
        raise BrokenRule("unknown_feature", f"feature '{unknown[0]}' is not in the schema")
    return record
