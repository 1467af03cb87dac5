"""What every record of a TFRecord file must be, whatever the others are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from preprocessing.inspection.findings import Findings
from preprocessing.inspection.inspect import SchemaFeature
from preprocessing.records import contract
from preprocessing.records.contract import DamagedRecords, FeatureType
from preprocessing.records.layout import SHARD_PATTERN, shard_files
from preprocessing.records.tfrecord_file import read_records

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


_DAMAGE = re.compile(r"(?:record \d+|file): (?P<problem>.*?)(?:; run .*)?$", re.DOTALL)


@dataclass(frozen=True)
class ShardReader:
    """Reads records, checks each by itself, and counts them.

    Attributes:
      schema: what records must hold.
      findings: where findings go.
    """

    schema: Mapping[str, SchemaFeature]
    findings: Findings

    def records(self, path: Path, name: str, expected: int | None) -> Iterator[tuple[int, Record]]:
        """Number and features of every sound record; ends at the first damage.

        Args:
          path: a GZIP TFRecord file.
          name: what findings call it.
          expected: records that the manifest counts; None if it does not say.
        """
        number = 0
        try:
            for number, serialized in enumerate(read_records(path), start=1):
                try:
                    yield number, read_record(serialized, self.schema)
                except BrokenRule as broken:
                    self.findings.error(broken.check, name, broken.message, number)
        except DamagedRecords as error:
            self.findings.error("damaged_file", name, _problem(error), number + 1)
            return
        if expected is not None and number != expected:
            self.findings.error(
                "wrong_record_count",
                name,
                f"holds {number:,} records, the manifest counts {expected:,}",
            )


def complete_shards(folder: Path, name: str, findings: Findings) -> list[Path]:
    """The TFRecord files of a folder, in order; those that are there when the set is not whole."""
    try:
        return shard_files(folder)
    except DamagedRecords as error:
        findings.error("incomplete_shards", name, str(error).removeprefix(f"{folder}: "), fix="")
        return sorted(folder.glob(SHARD_PATTERN))


def _problem(error: DamagedRecords) -> str:
    match = _DAMAGE.search(str(error))
    return match["problem"] if match else str(error)


_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "reki_tensorflow.checking"
_LISTS = (
    ("BytesList", "bytes_list", _FIELD.TYPE_BYTES),
    ("FloatList", "float_list", _FIELD.TYPE_FLOAT),
    ("Int64List", "int64_list", _FIELD.TYPE_INT64),
)


def _example_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="reki_tensorflow/example.proto", package=_PACKAGE, syntax="proto3"
    )
    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (message, name, kind) in enumerate(_LISTS, start=1):
        values = file.message_type.add(name=message)
        values.field.add(name="value", number=1, type=kind, label=_FIELD.LABEL_REPEATED)
        feature.field.add(
            name=name,
            number=number,
            type=_FIELD.TYPE_MESSAGE,
            type_name=f".{_PACKAGE}.{message}",
            label=_FIELD.LABEL_OPTIONAL,
            oneof_index=0,
        )
    file.message_type.append(feature)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    _add_message(entry, "value", 2, "Feature")
    _add_message(features, "feature", 1, "Features.FeatureEntry", _FIELD.LABEL_REPEATED)
    _add_message(file.message_type.add(name="Example"), "features", 1, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


def _add_message(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    kind: str,
    label: descriptor_pb2.FieldDescriptorProto.Label.ValueType = _FIELD.LABEL_OPTIONAL,
) -> None:
    message.field.add(
        name=name,
        number=number,
        type=_FIELD.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.{kind}",
        label=label,
    )


Example = _example_class()
"""Class of the message; `Example.FromString` raises `google.protobuf.message.DecodeError`."""

_LABELS = (0.0, 1.0)


def check_example(record: Record, history_length: int, edited: bool = False) -> None:
    """Checks one example of any kind.

    Args:
      record: its features, all there and of the right type.
      history_length: the most interactions that a history holds.
      edited: whether `forget` may have taken items out of histories.

    Raises:
      BrokenRule: a value is not possible.
    """
    if not record[contract.USER_ID][0]:
        raise BrokenRule("empty_id", f"'{contract.USER_ID}' is empty")
    items = record[contract.ITEM_ID]
    if not all(items):
        raise BrokenRule("empty_id", f"'{contract.ITEM_ID}' is empty")
    for name in (contract.LABEL, contract.RATING):
        if name in record and len(record[name]) != len(items):
            raise BrokenRule(
                "unequal_lists",
                f"{len(items)} candidates, but '{name}' has {len(record[name])} values",
            )
    for name in record:
        if name == contract.LABEL or name.startswith(contract.LABEL_PREFIX):
            _require_labels(name, record[name])
    position = record[contract.POSITION][0]
    if position < 0:
        raise BrokenRule("position_range", f"'{contract.POSITION}' is {position}")
    history = len(record[contract.HISTORY_ITEM_ID])
    if history != len(record[contract.HISTORY_RATING]):
        raise BrokenRule(
            "unequal_lists",
            f"the history has {history} items and {len(record[contract.HISTORY_RATING])} ratings",
        )
    if history > min(position, history_length) or (
        history < min(position, history_length) and not edited
    ):
        raise BrokenRule(
            "history_length",
            f"the history has {history} items; with {position} earlier interactions and "
            f"data.history_length = {history_length} it must have {min(position, history_length)}",
        )
    if not 0 <= record[contract.USER_FOLD][0] < contract.USER_FOLDS:
        raise BrokenRule(
            "fold_range",
            f"'{contract.USER_FOLD}' is {record[contract.USER_FOLD][0]}, must be below "
            f"{contract.USER_FOLDS}",
        )


def _require_labels(name: str, values: Sequence[float]) -> None:
    for label in values:
        if label not in _LABELS:
            raise BrokenRule("label_range", f"{name} is {label:g}, must be 0 or 1")
