"""Reading the knowledge vectors of one source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.records import contract
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import KnowledgeDirectory, WorkDirectory, fold_folder
from preprocessing.records.tfrecord_file import check_intact, read_records
from preprocessing.records.wire import decode_example


@dataclass(frozen=True)
class KnowledgeVectors:
    """Knowledge vectors of one source, sorted by entity id.

    Attributes:
      entity_ids: [entities], raw ids.
      vectors: [entities, width], float32.
      extraction: [entities], "individual" or "collective".
      group_ids: [entities], group of each entity, "" when it has none.
      fold_vectors: [USER_FOLDS, entities, width], float16, vectors made without the users of each
        fold, for their training samples; zeros where an entity has none. None for sources that
        are not made from interactions.
    """

    entity_ids: list[str]
    vectors: np.ndarray
    extraction: list[str]
    group_ids: list[str]
    fold_vectors: np.ndarray | None = None


def read_knowledge(directory: str | Path, source: str, with_folds: bool = True) -> KnowledgeVectors:
    """Reads all knowledge vectors of a source.

    Args:
      directory: the work directory (`scenario.work_dir`).
      source: source name, e.g. "item".
      with_folds: whether vectors made without a user fold are read, too.

    Raises:
      DamagedRecords: a file is missing or damaged, a record lacks a feature, an entity occurs
        twice, a vector has another width than the others or holds a number that is not finite, or
        an entity has a vector without a fold but none from all users.
    """
    files = WorkDirectory(directory).knowledge(source)
    rows = _read_rows(files.shards)
    entity_ids = sorted(rows)
    width = len(rows[entity_ids[0]][0]) if rows else 0
    vectors = np.zeros((len(rows), width), np.float32)
    for row, entity_id in enumerate(entity_ids):
        vectors[row] = rows[entity_id][0]
    has_folds = with_folds and files.is_cross_fitted
    return KnowledgeVectors(
        entity_ids=entity_ids,
        vectors=vectors,
        extraction=[rows[entity_id][1] for entity_id in entity_ids],
        group_ids=[rows[entity_id][2] for entity_id in entity_ids],
        fold_vectors=_fold_vectors(files, entity_ids, width) if has_folds else None,
    )


def _fold_vectors(files: KnowledgeDirectory, entity_ids: list[str], width: int) -> np.ndarray:
    row_of = {entity_id: row for row, entity_id in enumerate(entity_ids)}
    vectors = np.zeros((contract.USER_FOLDS, len(entity_ids), width), np.float16)
    for fold in range(contract.USER_FOLDS):
        for entity_id, (vector, *_) in _read_rows(files.shards_without_fold(fold), width).items():
            if entity_id not in row_of:
                raise DamagedRecords(
                    f"{files.path / fold_folder(fold)}: a vector of an entity that has none from "
                    "all users; run 'python -m preprocessing encode --force' again"
                )
            vectors[fold, row_of[entity_id]] = vector
    return vectors


def _read_rows(
    shards: Iterable[Path], width: int | None = None
) -> dict[str, tuple[np.ndarray, str, str]]:
    """Entity id -> vector, extraction and group; all vectors have one width."""
    rows: dict[str, tuple[np.ndarray, str, str]] = {}
    for path in shards:
        check_intact(path)
        for number, record in enumerate(read_records(path), start=1):
            location = f"{path}: record {number}"
            entity_id, vector, extraction, group_id = _decode(record, location)
            if width is None:
                width = len(vector)
            if len(vector) != width:
                raise DamagedRecords(
                    f"{location}: vector of width {len(vector)}, the first one has {width}"
                )
            if not np.isfinite(vector).all():
                raise DamagedRecords(f"{location}: the vector holds a number that is not finite")
            if entity_id in rows:
                raise DamagedRecords(f"{location}: a second record for an entity of this source")
            rows[entity_id] = (vector, extraction, group_id)
    return rows


def _decode(record: bytes, location: str) -> tuple[str, np.ndarray, str, str]:
    try:
        features = decode_example(record)
        texts = {}
        for name in (contract.ENTITY_ID, contract.EXTRACTION, contract.GROUP_ID):
            (value,) = features[name]
            texts[name] = value.decode()
        vector = features[contract.VECTOR]
    except KeyError as error:
        raise DamagedRecords(f"{location}: feature {error} is missing") from error
    except (ValueError, AttributeError) as error:
        raise DamagedRecords(f"{location}: not a knowledge record ({error})") from error
    if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or not len(vector):
        raise DamagedRecords(f"{location}: '{contract.VECTOR}' is not a list of floats")
    if texts[contract.EXTRACTION] not in contract.EXTRACTIONS:
        raise DamagedRecords(f"{location}: extraction is '{texts[contract.EXTRACTION]}'")
    return texts[contract.ENTITY_ID], vector, texts[contract.EXTRACTION], texts[contract.GROUP_ID]
