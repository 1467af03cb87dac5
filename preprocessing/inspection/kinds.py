"""What a file or folder of a work directory is, judged by its content."""

from __future__ import annotations

import json
import struct
import zlib
from enum import Enum
from pathlib import Path
from typing import Any

from configs.command_line import CommandError
from preprocessing.records.contract import PARTS
from preprocessing.records.layout import StepDirectory
from preprocessing.records.tfrecord_file import masked_crc32c

SHARD_PATTERN = "part-*.tfrecord.gz"
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
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
    found = [*work.glob("*/manifest.json"), *work.glob("*/*/manifest.json")]
    folders = {path.parent for path in found}
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
        text = head.decode("utf-8-sig") if len(head) < _HEAD_BYTES else head[:-4].decode("utf-8")
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
