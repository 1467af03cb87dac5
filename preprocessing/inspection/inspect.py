"""The command `inspect`: shows what lies at a path, whatever preprocessing wrote there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, say
from preprocessing.inspection.folders import view_parts, view_step, view_work_directory
from preprocessing.inspection.kinds import Kind, kind_of, read_manifest
from preprocessing.inspection.line_files import (
    view_answers,
    view_dead_letters,
    view_prompts,
    view_vocabulary,
)
from preprocessing.inspection.record_files import view_records
from preprocessing.inspection.rendering import rendered
from preprocessing.inspection.schema import read_schema
from preprocessing.inspection.tables import view_arrays, view_csv, view_parquet
from preprocessing.records.layout import shard_files


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
      CommandError: there is nothing, or nothing that preprocessing writes or reads.
      DamagedRecords: a file is damaged.
    """
    if not path.exists():
        raise CommandError(
            f"{path}: there is no such file or folder (relative paths start at {Path.cwd()})"
        )
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
