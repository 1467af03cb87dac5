"""Reading the knowledge vectors of one source."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocessing.records import contract
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import KnowledgeDirectory, WorkDirectory, fold_folder
from preprocessing.records.tfrecord_file import check_intact, read_records
from preprocessing.records.wire import (
    FIELD_1,
    FIELD_2,
    bytes_entry,
    decode_example,
    entry_head,
    message,
)


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


class CentredVectors:
    """Vectors as knowledge match compares them: less their mean, of length 1.

    Attributes:
      directions: [rows, width] float32; zeros for a vector that is the mean.
    """

    def __init__(self, vectors: np.ndarray):
        """Takes vectors [rows, width]."""
        centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        self.directions = np.divide(centred, lengths, out=centred, where=lengths > 0)

    def nearest(self, row: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows that are most like one, best first, and their cosines with it.

        Of equal ones the first rows come first.

        Args:
          row: of the one, which is not among them.
          most: at most so many.
        """
        # A product of matrix and vector by threads costs four times as much.
        cosines = np.einsum("ij,j->i", self.directions, self.directions[row])
        cosines[row] = -np.inf
        most = min(most, len(cosines) - 1)
        if most < 1:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        near = np.flatnonzero(cosines >= np.partition(cosines, -most)[-most])
        order = near[np.argsort(-cosines[near], kind="stable")][:most]
        return order, cosines[order]


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
    order = sorted(range(len(rows.entity_ids)), key=rows.entity_ids.__getitem__)
    entity_ids = [rows.entity_ids[row] for row in order]
    vectors = rows.vectors[order]
    width = vectors.shape[1]
    has_folds = with_folds and files.is_cross_fitted
    return KnowledgeVectors(
        entity_ids=entity_ids,
        vectors=vectors,
        extraction=[rows.labels[row][0] for row in order],
        group_ids=[rows.labels[row][1] for row in order],
        fold_vectors=_fold_vectors(files, entity_ids, width) if has_folds else None,
    )


def _fold_vectors(files: KnowledgeDirectory, entity_ids: list[str], width: int) -> np.ndarray:
    row_of = {entity_id: row for row, entity_id in enumerate(entity_ids)}
    vectors = np.zeros((contract.USER_FOLDS, len(entity_ids), width), np.float16)
    for fold in range(contract.USER_FOLDS):
        rows = _read_rows(files.shards_without_fold(fold), width)
        places = [row_of.get(entity_id, -1) for entity_id in rows.entity_ids]
        if places:
            if min(places) < 0:
                raise DamagedRecords(
                    f"{files.path / fold_folder(fold)}: a vector of an entity that has none from "
                    "all users; run 'python -m preprocessing encode --force' again"
                )
            vectors[fold, places] = rows.vectors
    return vectors


_FILES_AHEAD = 2


@dataclass(frozen=True)
class _Rows:
    """Records in the order of the files.

    Attributes:
      entity_ids: [rows], each once.
      vectors: [rows, width] float32.
      labels: [rows] extraction and group.
    """

    entity_ids: list[str]
    vectors: np.ndarray
    labels: list[tuple[str, str]]


def _read_rows(shards: Iterable[Path], width: int | None = None) -> _Rows:
    """Reads records of which all vectors have one width."""
    labels: dict[str, tuple[str, str]] = {}
    parts: list[np.ndarray] = []
    for path, records in _read_ahead(shards):
        packed: list[bytes] = []
        layout = None if width is None else _Layout(width)
        for number, record in enumerate(records, start=1):
            row = None if layout is None else layout.split(record)
            if row is None:
                location = f"{path}: record {number}"
                entity_id, vector, *label = _decode(record, location)
                if width is None:
                    width = len(vector)
                if len(vector) != width:
                    raise DamagedRecords(
                        f"{location}: vector of width {len(vector)}, the first one has {width}"
                    )
                layout = layout or _Layout(width)
                row = entity_id, vector.tobytes(), (label[0], label[1])
            if row[0] in labels:
                raise DamagedRecords(
                    f"{path}: record {number}: a second record for an entity of this source"
                )
            labels[row[0]] = row[2]
            packed.append(row[1])
        if packed:
            part = np.frombuffer(b"".join(packed), np.float32).reshape(len(packed), width or 0)
            finite = np.isfinite(part).all(axis=1)
            if not finite.all():
                raise DamagedRecords(
                    f"{path}: record {int(finite.argmin()) + 1}: the vector holds a number that is "
                    "not finite"
                )
            parts.append(part)
    vectors = np.concatenate(parts) if parts else np.zeros((0, width or 0), np.float32)
    return _Rows(list(labels), vectors, list(labels.values()))


def _read_ahead(shards: Iterable[Path]) -> Iterator[tuple[Path, list[bytes]]]:
    """Files and their records; the next files are unpacked while one is taken apart."""

    def read(path: Path) -> tuple[Path, list[bytes]]:
        check_intact(path)
        return path, list(read_records(path))

    with ThreadPoolExecutor(_FILES_AHEAD) as reader:
        ahead: deque[Future[tuple[Path, list[bytes]]]] = deque()
        for path in shards:
            ahead.append(reader.submit(read, path))
            if len(ahead) > _FILES_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


class _Layout:
    """Takes records apart that are laid out as this project writes them: id, vector, the rest.

    Decoding them one field at a time costs twenty times as much. What is laid out in another way is
    left to `_decode`.

    Args:
      width: of the vectors.
    """

    def __init__(self, width: int):
        self._head = entry_head(contract.VECTOR, FIELD_2, 4 * width)
        self._bytes = 4 * width
        self._beginnings: dict[tuple[int, int], bytes | None] = {}
        self._labels: dict[bytes, tuple[str, str] | None] = {}

    def split(self, record: bytes) -> tuple[str, bytes, tuple[str, str]] | None:
        """Entity id, vector as float32, and extraction with group; None for another layout."""
        head = record.find(self._head)
        start = head + len(self._head)
        end = start + self._bytes
        if head < 0 or end > len(record):
            return None
        rest = record[end:]
        label = self._labels.get(rest)
        if label is None:
            label = self._labels[rest] = self._label_of(rest)
        beginning = self._beginning(len(record), head)
        if label is None or beginning is None or not record.startswith(beginning):
            return None
        try:
            return record[len(beginning) : head].decode(), record[start:end], label
        except UnicodeDecodeError:
            return None

    def _beginning(self, size: int, head: int) -> bytes | None:
        """What stands before the id in a record of a size, whose vector begins at a place."""
        key = (size, head)
        if key not in self._beginnings:
            self._beginnings[key] = None
            for length in range(head + 1):
                id_entry = bytes_entry(contract.ENTITY_ID, b"\0" * length)
                features = len(id_entry) + size - head
                whole = message(FIELD_1, features) + id_entry
                if len(whole) == head and len(message(FIELD_1, features)) + features == size:
                    self._beginnings[key] = whole[: head - length]
                    break
        return self._beginnings[key]

    @staticmethod
    def _label_of(rest: bytes) -> tuple[str, str] | None:
        try:
            features = decode_example(message(FIELD_1, len(rest)) + rest)
            (extraction,), (group,) = features[contract.EXTRACTION], features[contract.GROUP_ID]
            if len(features) != 2 or extraction.decode() not in contract.EXTRACTIONS:
                return None
            return extraction.decode(), group.decode()
        except (KeyError, ValueError, AttributeError):
            return None


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
