"""The command `inspect`: shows what lies at a path, whatever preprocessing wrote there."""

from __future__ import annotations

import codecs
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from configs.command_line import CommandError, say
from configs.loading import ConfigurationError, nothing_there
from configs.text_table import aligned
from preprocessing.dead_letters import count_by_reason
from preprocessing.inspection.views import (
    view_answers,
    view_arrays,
    view_arrow,
    view_csv,
    view_dead_letters,
    view_parquet,
    view_prompts,
    view_records,
    view_vocabulary,
)
from preprocessing.records.contract import EXAMPLE_KINDS, PARTS, DamagedRecords, FeatureType
from preprocessing.records.layout import (
    SHARD_PATTERN,
    ExamplesDirectory,
    StepDirectory,
    shard_files,
)
from preprocessing.records.tfrecord_file import masked_crc32c

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


_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_ARROW = b"ARROW1"
_ZIP = b"PK"
_GZIP_WINDOW = 31  # zlib's code for a gzip frame
_HEAD_BYTES = 1 << 16
_LENGTH_BYTES = 12
_LARGEST_MANIFEST = 1 << 26


class Kind(Enum):
    """Kinds of content."""

    WORK_DIRECTORY = "work directory"
    STEP = "step folder"
    PARTS = "examples of one kind"
    SHARDS = "folder of TFRecord files"
    TFRECORD = "TFRecord file"
    PARQUET = "Parquet file"
    ARROW = "Arrow file"
    MANIFEST = "manifest"
    ANSWERS = "answers"
    PROMPTS = "prompts"
    DEAD_LETTERS = "dead letters"
    SCHEMA = "schema"
    TABLE = "CSV table"
    VALUES = "vocabulary"
    ARRAYS = "NumPy arrays"
    EMPTY = "empty file"


_LISTS = {".csv": Kind.TABLE, ".txt": Kind.VALUES}
"""Lists of plain texts look alike: a vocabulary may hold commas."""


def kind_of(path: Path) -> Kind:
    """What lies at a path.

    Raises:
      CommandError: nothing, or nothing that preprocessing writes or reads.
    """
    if path.is_dir():
        return _kind_of_folder(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise CommandError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not head:
        return Kind.EMPTY
    if head.startswith(_PARQUET):
        return Kind.PARQUET
    if head.startswith(_ARROW):
        return Kind.ARROW
    if head.startswith(_ZIP) and path.suffix == ".npz":
        return Kind.ARRAYS
    if head.startswith(_GZIP):
        head = _decompressed(path, head)
        if _is_record_frame(head):
            return Kind.TFRECORD
        if not head:
            return Kind.EMPTY
    return _kind_of_text(path, head)


def read_manifest(path: Path) -> dict[str, Any]:
    """Reads a manifest.

    Raises:
      CommandError: it cannot be read, or is no manifest.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise CommandError(f"{path}: not valid JSON ({error})") from error
    if not is_manifest(manifest):
        raise CommandError(
            f"{path}: not a manifest; it has no 'step', or no 'files' with sizes and checksums"
        )
    return manifest


def is_manifest(tree: object) -> bool:
    """True for what a step says about itself."""
    if not isinstance(tree, dict) or not isinstance(tree.get("step"), str):
        return False
    files = tree.get("files")
    return isinstance(files, dict) and all(
        isinstance(file, dict) and file.keys() >= {"sha256", "bytes"} for file in files.values()
    )


def step_folders(work: Path) -> list[Path]:
    """Folders of finished steps below a work directory, one or two levels down, in text order."""
    manifests = [*work.glob("*/manifest.json"), *work.glob("*/*/manifest.json")]
    folders = {path.parent for path in manifests}
    return sorted(
        folder
        for folder in folders
        if not any(part.startswith(".") for part in folder.relative_to(work).parts)
        and folder.parent not in folders
        and _is_step(folder)
    )


def part_folders(path: Path) -> dict[str, Path]:
    """Folders of training, validation and test files in a folder, by part; those with files."""
    folders = {part: path / part for part in PARTS}
    return {part: folder for part, folder in folders.items() if any(folder.glob(SHARD_PATTERN))}


def _is_step(folder: Path) -> bool:
    try:
        return is_manifest(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return True  # a damaged manifest is to be told, not overlooked


def _kind_of_folder(path: Path) -> Kind:
    if StepDirectory(path).manifest.is_file():
        return Kind.STEP
    if any(path.glob(SHARD_PATTERN)):
        return Kind.SHARDS
    if part_folders(path):
        return Kind.PARTS
    if step_folders(path):
        return Kind.WORK_DIRECTORY
    raise CommandError(
        f"{path}: neither a work directory, nor the folder of a step, nor one with TFRecord files: "
        "there is no manifest.json in it or one level below. Name the work_dir of a scenario, or "
        "run 'python -m preprocessing all' first"
    )


def _decompressed(path: Path, head: bytes) -> bytes:
    try:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(head, _HEAD_BYTES)
    except zlib.error as error:
        raise CommandError(f"{path}: not valid GZIP data ({error})") from error


def _is_record_frame(head: bytes) -> bool:
    if len(head) < _LENGTH_BYTES:
        return False
    (checksum,) = struct.unpack_from("<I", head, 8)
    return masked_crc32c(head[:8]) == checksum


def _kind_of_text(path: Path, head: bytes) -> Kind:
    try:
        # A character may be cut in two at the end of what was read.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{path}: neither text nor a file that preprocessing writes (byte {error.start})"
        ) from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    if text.lstrip().startswith("feature {"):
        return Kind.SCHEMA
    if not first.lstrip().startswith("{"):
        if path.suffix not in _LISTS:
            raise CommandError(f"{path}: neither a file that preprocessing writes nor answers")
        return _LISTS[path.suffix]
    record = _json_object(first)
    if record is None and path.stat().st_size < _LARGEST_MANIFEST:
        record = _json_object(path.read_text(encoding="utf-8", errors="replace"))
    if record is None:
        raise CommandError(f"{path}: begins like JSON, but is neither JSON nor JSON lines")
    if is_manifest(record):
        return Kind.MANIFEST
    if {"file", "line", "reason"} <= record.keys():
        return Kind.DEAD_LETTERS
    return Kind.PROMPTS if "prompt" in record and "answer" not in record else Kind.ANSWERS


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        tree = json.loads(text)
    except ValueError:
        return None
    return tree if isinstance(tree, dict) else None


_MAIN = ("step", "encoder", "counts")
_DETAILS = ("code_version", "config_hash", "settings", "inputs")


def view_step(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Manifest, dead letters, sizes, and the first records of a step's folder.

    Args:
      path: the folder.
      records: records shown of each kind.
      limit: records read of each kind for the statistics.

    Raises:
      CommandError: the manifest is damaged.
      DamagedRecords: a record file is damaged.
    """
    manifest = read_manifest(StepDirectory(path).manifest)
    return {
        **_summary(path, manifest),
        **{name: manifest[name] for name in _DETAILS if name in manifest},
        "files": {name: file["bytes"] for name, file in sorted(manifest["files"].items())},
        "content": _content(path, records, limit),
    }


def view_parts(path: Path, records: int, limit: int) -> dict[str, Any]:
    """The first records of each part of one kind of examples, and statistics.

    Raises:
      DamagedRecords: a record file is damaged or missing.
    """
    return {
        "parts": {
            part: view_records(shard_files(folder), records, limit)
            for part, folder in part_folders(path).items()
        }
    }


def view_work_directory(path: Path) -> dict[str, Any]:
    """What each step says of itself.

    Raises:
      CommandError: a manifest is damaged.
    """
    steps = {}
    for folder in step_folders(path):
        manifest = read_manifest(StepDirectory(folder).manifest)
        summary = _summary(folder, manifest)
        summary["bytes"] = sum(file["bytes"] for file in manifest["files"].values())
        steps[folder.relative_to(path).as_posix()] = summary
    return {"steps": steps}


def _summary(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    view = {name: manifest[name] for name in _MAIN if name in manifest}
    letters = StepDirectory(path).dead_letters
    if letters.is_file():
        view["dead_letters"] = count_by_reason(letters)
    return view


def _content(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Views of the record files: of the training part where there are parts."""
    examples = ExamplesDirectory(path)
    views: dict[str, Any] = {}
    for kind in EXAMPLE_KINDS:
        if examples.part(PARTS[0], kind).is_dir():
            shards = examples.shards(PARTS[0], kind)
            views[f"{kind}/{PARTS[0]}"] = view_records(shards, records, limit)
    if any(path.glob(SHARD_PATTERN)):
        views["knowledge"] = view_records(shard_files(path), records, limit)
    for file in sorted(path.iterdir()):
        if file.suffix == ".csv":
            views[file.name] = view_csv(file, records, limit)
        elif file.suffix == ".jsonl" and file.stat().st_size and kind_of(file) is Kind.PROMPTS:
            views[file.name] = view_prompts(file, records, limit)
    return views


_STATISTIC_COLUMNS = ("type", "records", "per record", "distinct", "minimum", "mean", "maximum")
_WIDEST_CELL = 40


def rendered(view: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a view: nested names indented, records numbered, statistics as tables."""
    yield from _lines(view, "")


def _lines(tree: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in tree.items():
        if name == "records" and isinstance(value, list):
            yield from _record_lines(value, indent)
        elif name in ("features", "columns") and isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _table(_statistic_rows(value), indent + "  ")
        elif isinstance(value, Mapping) and value and not _is_abbreviation(value):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: {_text(value)}"


def _record_lines(records: list[Any], indent: str) -> Iterator[str]:
    for number, record in enumerate(records, start=1):
        yield f"{indent}record {number}:"
        if isinstance(record, Mapping):
            width = max(map(len, record), default=0)
            for name, value in record.items():
                yield f"{indent}  {name:{width}}  {_text(value)}"


def _statistic_rows(features: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """A row for each feature; what has no column stands in the last one."""
    rows = []
    for name, statistics in features.items():
        row = {"name": name}
        rest = []
        for key, value in statistics.items():
            if key == "values_per_record":
                row["per record"] = _range(value)
            elif key in _STATISTIC_COLUMNS:
                row[key] = _text(value)
            elif key == "most_common":
                rest.append("often " + ", ".join(f"{text!r} {count:,}" for text, count in value))
            elif value:
                rest.append(f"{key.replace('_', ' ')} {_text(value)}")
        row["more"] = "; ".join(rest)
        rows.append(row)
    return rows


def _table(rows: list[dict[str, str]], indent: str) -> Iterator[str]:
    columns = [name for name in ("name", *_STATISTIC_COLUMNS) if any(row.get(name) for row in rows)]
    cells = [[*(row.get(name, "")[:_WIDEST_CELL] for name in columns), row["more"]] for row in rows]
    for line in aligned([*columns, ""], cells):
        yield f"{indent}{line}"


def _range(count: Mapping[str, Any]) -> str:
    if count["minimum"] == count["maximum"]:
        return _text(count["minimum"])
    return f"{_text(count['minimum'])} to {_text(count['maximum'])}, mean {_text(count['mean'])}"


def _is_abbreviation(value: Mapping[str, Any]) -> bool:
    return value.keys() == {"count", "first", "last"}


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        if _is_abbreviation(value):
            ends = [", ".join(map(_text, value[end])) for end in ("first", "last")]
            return f"[{ends[0]}, ..., {ends[1]}] ({value['count']:,} values)"
        return ", ".join(f"{name} {_text(entry)}" for name, entry in value.items()) or "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def inspect_path(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Shows records, schema, counts and statistics.

    Args:
      path: a work directory, the folder of a step, one of its folders of TFRecord files, or a file
        in one; answers of any format.
      records: records shown.
      limit: records read for statistics.

    Returns:
      `path`, `kind`, and what is there.

    Raises:
      ConfigurationError: there is nothing.
      CommandError: it is nothing that preprocessing writes or reads.
      DamagedRecords: a file is damaged.
    """
    if not path.exists():
        raise ConfigurationError(nothing_there(path))
    kind = kind_of(path)
    view = {"path": str(path), "kind": kind.value, **_view(path, kind, records, limit)}
    for line in rendered(view):
        say(line)
    return json.loads(json.dumps(view, default=str))


def _view(path: Path, kind: Kind, records: int, limit: int) -> dict[str, Any]:
    match kind:
        case Kind.WORK_DIRECTORY:
            return view_work_directory(path)
        case Kind.STEP:
            return view_step(path, records, limit)
        case Kind.PARTS:
            return view_parts(path, records, limit)
        case Kind.SHARDS:
            return view_records(shard_files(path), records, limit)
        case Kind.TFRECORD:
            return view_records([path], records, limit)
        case Kind.PARQUET:
            return view_parquet(path, records, limit)
        case Kind.ARROW:
            return view_arrow(path, records, limit)
        case Kind.MANIFEST:
            return dict(read_manifest(path))
        case Kind.ANSWERS:
            return view_answers(path, records, limit)
        case Kind.PROMPTS:
            return view_prompts(path, records, limit)
        case Kind.DEAD_LETTERS:
            return view_dead_letters(path, records, limit)
        case Kind.SCHEMA:
            return {"features": _view_schema(path)}
        case Kind.TABLE:
            return view_csv(path, records, limit)
        case Kind.ARRAYS:
            return view_arrays(path)
        case Kind.VALUES:
            return view_vocabulary(path, records)
        case Kind.EMPTY:
            return {"bytes": path.stat().st_size}


def _view_schema(path: Path) -> dict[str, dict[str, str]]:
    return {
        name: {"type": feature.type.value, "values": feature.count}
        for name, feature in read_schema(path).items()
    }
