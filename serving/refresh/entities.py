"""Who is described by which answer, as arrays over the rows of items or users."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from configs.command_line import CommandError
from models.knowledge import MISSING_ROW, KnowledgeRecords, rows_of_records
from models.row_chunks import row_chunks
from preprocessing.records.contract import INDIVIDUAL as INDIVIDUAL_ANSWER

NO_ANSWER, INDIVIDUAL, COLLECTIVE = 0, 1, 2
NO_GROUP = -1
_DIGEST_BYTES = 8
_FILE = "entities.npz"


@dataclass(frozen=True)
class KnownEntities:
    """The entities of one source.

    Attributes:
      rows: int32 [entities + 1], knowledge row of each item or user row; 0 for none.
      origins: uint8 [entities + 1], NO_ANSWER, INDIVIDUAL or COLLECTIVE.
      groups: int32 [entities + 1], place of each one's group in `group_ids`, or NO_GROUP.
      group_ids: strings [groups].
      digests: int64 [knowledge rows], of the knowledge vectors (`digests_of`); row 0's is 0.
    """

    rows: np.ndarray
    origins: np.ndarray
    groups: np.ndarray
    group_ids: np.ndarray
    digests: np.ndarray

    @classmethod
    def of_records(
        cls, records: KnowledgeRecords, entity_rows: Mapping[str, int], num_rows: int
    ) -> KnownEntities:
        """Arranges knowledge records.

        Args:
          records: of the source.
          entity_rows: raw id -> item or user row.
          num_rows: item or user rows, row 0 included.
        """
        knowledge_rows, first_of_row = rows_of_records(records)
        places = np.array([entity_rows[entity] for entity in records.entity_ids], np.int64)
        individual = np.asarray(records.extraction) == INDIVIDUAL_ANSWER
        group_ids, of_group = np.unique(np.asarray(records.group_ids, str), return_inverse=True)
        rows, origins = np.zeros(num_rows, np.int32), np.zeros(num_rows, np.uint8)
        groups = np.full(num_rows, NO_GROUP, np.int32)
        rows[places] = knowledge_rows
        origins[places] = np.where(individual, INDIVIDUAL, COLLECTIVE)
        groups[places] = of_group
        if len(group_ids) and group_ids[0] == "":
            group_ids, groups = group_ids[1:], np.maximum(groups - 1, NO_GROUP)
        digests = np.zeros(len(first_of_row) + 1, np.int64)
        vectors = np.asarray(records.vectors)
        for part in row_chunks(0, len(first_of_row)):
            digests[part + 1] = digests_of(vectors[first_of_row[part]])
        return cls(rows, origins, groups, group_ids, digests)

    @property
    def num_knowledge_rows(self) -> int:
        """Rows of the source's knowledge table, row 0 included."""
        return len(self.digests)

    def with_entities(self, number: int) -> KnownEntities:
        """A copy with further entities at the end, of whom nothing is known."""
        padding = (0, number)
        return KnownEntities(
            np.pad(self.rows, padding, constant_values=MISSING_ROW),
            np.pad(self.origins, padding, constant_values=NO_ANSWER),
            np.pad(self.groups, padding, constant_values=NO_GROUP),
            self.group_ids,
            self.digests,
        )

    def write(self, folder: Path) -> None:
        """Writes the file of a source's folder."""
        np.savez(folder / _FILE, **{each.name: getattr(self, each.name) for each in fields(self)})


def read_entities(folder: Path) -> KnownEntities:
    """Reads the file of a source's folder.

    Raises:
      CommandError: it is missing or damaged.
    """
    path = folder / _FILE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return KnownEntities(**{each.name: arrays[each.name] for each in fields(KnownEntities)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CommandError(
            f"{path} cannot be read ({error}); copy the version folder anew, or export again"
        ) from error


def digests_of(vectors: np.ndarray) -> np.ndarray:
    """Hashes of knowledge vectors as float16, by which unchanged ones are told: int64 [n]."""
    rounded = np.ascontiguousarray(vectors, np.float16)
    return np.array(
        [
            int.from_bytes(
                hashlib.blake2b(vector, digest_size=_DIGEST_BYTES).digest(), "little", signed=True
            )
            for vector in rounded
        ],
        np.int64,
    )
