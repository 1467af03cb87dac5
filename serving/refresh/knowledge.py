"""The knowledge of a version: who is described by which answer, and the rows that change."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from models.knowledge import MISSING_ROW, KnowledgeRecords, rows_of_records
from models.vector_tables import row_chunks
from preprocessing.answers.record import Location
from preprocessing.records.contract import INDIVIDUAL as INDIVIDUAL_ANSWER
from serving.id_index import UNKNOWN_ROW, IndexOverflow, require_whole_numbers
from serving.refresh.version import (
    IdLookup,
    RefreshDescription,
    RefreshFolder,
    StoredVariables,
    read_description,
)

if TYPE_CHECKING:
    from serving.refresh.incoming import Entry, IncomingRecords


@dataclass(frozen=True)
class NewVectors:
    """Accepted vectors of one source, each entity and each group once.

    Attributes:
      entities: int [n], item or user rows.
      entity_vectors: float16 [n, dimension].
      groups: int [m], places in `KnownEntities.group_ids`.
      group_vectors: float16 [m, dimension].
    """

    entities: np.ndarray
    entity_vectors: np.ndarray
    groups: np.ndarray
    group_vectors: np.ndarray


@dataclass(frozen=True)
class KnownEntities:
    """The entities of one source.

    Attributes:
      rows: int32 [entities + 1], knowledge row of each item or user row; 0 for none.
      origins: uint8 [entities + 1], NO_ANSWER, INDIVIDUAL, COLLECTIVE or FORGOTTEN.
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
        group_ids, group_of_record = np.unique(
            np.asarray(records.group_ids, str), return_inverse=True
        )
        rows, origins = np.zeros(num_rows, np.int32), np.zeros(num_rows, np.uint8)
        groups = np.full(num_rows, NO_GROUP, np.int32)
        rows[places] = knowledge_rows
        origins[places] = np.where(individual, INDIVIDUAL, COLLECTIVE)
        groups[places] = group_of_record
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

    def without(self, entities: np.ndarray) -> tuple[KnownEntities, np.ndarray]:
        """A copy that knows nothing of some item or user rows.

        Returns:
          The copy, and the knowledge rows that nobody has any more, ascending.
        """
        rows, origins = self.rows.copy(), self.origins.copy()
        groups, digests = self.groups.copy(), self.digests.copy()
        rows[entities], origins[entities], groups[entities] = MISSING_ROW, FORGOTTEN, NO_GROUP
        # Also rows that somebody had before an individual answer took their place.
        vacated = np.setdiff1d(np.arange(self.num_knowledge_rows), np.append(rows, MISSING_ROW))
        digests[vacated] = 0
        return KnownEntities(rows, origins, groups, self.group_ids, digests), vacated

    def write(self, folder: Path) -> None:
        """Writes the file of a source's folder."""
        np.savez(folder / _FILE, **{each.name: getattr(self, each.name) for each in fields(self)})


@dataclass(frozen=True)
class SourceChange:
    """What becomes of a source.

    Attributes:
      entities: who has which answer from now on.
      rows: int [k], ascending: knowledge rows whose vector changed, then new ones at the end.
      vectors: float16 [k, dimension], their vectors.
      affected: int [e], item or user rows with another vector or row than before, ascending.
    """

    entities: KnownEntities
    rows: np.ndarray
    vectors: np.ndarray
    affected: np.ndarray

    def vectors_of_affected(self) -> np.ndarray:
        """Knowledge vectors of the affected entities, float16 [e, dimension]."""
        return self.vectors[np.searchsorted(self.rows, self.entities.rows[self.affected])]


def change_source(entities: KnownEntities, new: NewVectors) -> SourceChange:
    """Applies new vectors to what is known of a source.

    An individual answer gives its entity a row of its own, or changes it; the answer of a group
    changes the row that its members without one of their own share. Vectors that are there already,
    bit for bit, change nothing.

    Args:
      entities: the source, new entities included.
      new: accepted vectors.
    """
    digests = entities.digests.copy()
    group_rows = rows_of_groups(entities)[new.groups]
    group_digests = digests_of(new.group_vectors)
    changed_groups = (group_rows != MISSING_ROW) & (digests[group_rows] != group_digests)

    own_rows = entities.rows[new.entities]
    has_own = entities.origins[new.entities] == INDIVIDUAL
    own_digests = digests_of(new.entity_vectors)
    changed_own = has_own & (digests[own_rows] != own_digests)

    number_new = int(np.sum(~has_own))
    new_rows = np.arange(len(digests), len(digests) + number_new, dtype=np.int32)
    rows = np.concatenate([group_rows[changed_groups], own_rows[changed_own], new_rows])
    vectors = np.concatenate(
        [
            new.group_vectors[changed_groups],
            new.entity_vectors[changed_own],
            new.entity_vectors[~has_own],
        ]
    )
    digests = np.pad(digests, (0, number_new))
    digests[rows] = np.concatenate(
        [group_digests[changed_groups], own_digests[changed_own], own_digests[~has_own]]
    )
    knowledge_rows, origins = entities.rows.copy(), entities.origins.copy()
    knowledge_rows[new.entities[~has_own]] = new_rows
    origins[new.entities[~has_own]] = INDIVIDUAL
    order = np.argsort(rows, kind="stable")
    return SourceChange(
        KnownEntities(knowledge_rows, origins, entities.groups, entities.group_ids, digests),
        rows[order],
        vectors[order],
        np.flatnonzero(np.isin(knowledge_rows, rows)),
    )


def rows_of_groups(entities: KnownEntities) -> np.ndarray:
    """Knowledge row of every group's answer, int32 [groups]; 0 if no entity uses it.

    A collective answer that names no group is nobody else's.
    """
    rows = np.full(len(entities.group_ids), MISSING_ROW, np.int32)
    members = np.flatnonzero((entities.origins == COLLECTIVE) & (entities.groups != NO_GROUP))
    rows[entities.groups[members]] = entities.rows[members]
    return rows


NO_ANSWER, INDIVIDUAL, COLLECTIVE, FORGOTTEN = 0, 1, 2, 3
NO_GROUP = -1
_DIGEST_BYTES = 8
_FILE = "entities.npz"


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


Coverage = dict[str, int]


def coverage(sources: Iterable[KnownEntities], num_entities: int) -> Coverage:
    """Counts entities by the best answer that any of the sources has of them.

    Args:
      sources: of one kind of entity.
      num_entities: rows of items or users but row 0.

    Returns:
      "individual", "group" and "missing", which add up to the number of entities but those that
      were forgotten.
    """
    individual = np.zeros(num_entities, bool)
    collective = np.zeros(num_entities, bool)
    forgotten = np.zeros(num_entities, bool)
    for source in sources:
        individual |= source.origins[1:] == INDIVIDUAL
        collective |= source.origins[1:] == COLLECTIVE
        forgotten |= source.origins[1:] == FORGOTTEN
    return {
        "individual": int(individual.sum()),
        "group": int((collective & ~individual).sum()),
        "missing": int((~collective & ~individual & ~forgotten).sum()),
    }


_ENTITIES = ("item", "user")


@dataclass(frozen=True)
class ClearedRows:
    """Rows of a version that are nobody's from now on.

    Attributes:
      rows: "item" and "user" -> int32 rows of those who were known.
      vacated: source -> int32 knowledge rows that nobody has.
    """

    rows: dict[str, np.ndarray]
    vacated: dict[str, np.ndarray]

    def __bool__(self) -> bool:
        return any(map(len, self.rows.values()))


@dataclass
class VersionKnowledge:
    """Who is known, and by which answers.

    Attributes:
      folder: where the version keeps what a refresh needs.
      description: sources, encoder, kinds of tables.
      variables: what the version stores.
      lookups: "item" or "user" -> raw id to row; users are missing where no source is about them.
      entities: source -> who has which answer.
    """

    folder: RefreshFolder
    description: RefreshDescription
    variables: StoredVariables
    lookups: dict[str, IdLookup]
    entities: dict[str, KnownEntities]

    @classmethod
    def of_version(cls, version_folder: Path) -> VersionKnowledge:
        """Reads a version.

        Raises:
          CommandError: the version lacks what a refresh needs, or is damaged.
        """
        description = read_description(version_folder)
        folder, variables = RefreshFolder(version_folder), StoredVariables(version_folder)
        lookups = {entity: IdLookup.of_version(variables, f"{entity}s") for entity in _ENTITIES}
        return cls(
            folder,
            description,
            variables,
            {entity: lookup for entity, lookup in lookups.items() if lookup is not None},
            {source: read_entities(folder.source(source)) for source in description.sources},
        )

    def usable(self, records: IncomingRecords) -> dict[str, list[Entry]]:
        """Entries that the version has a place for, by source; the others are rejected.

        Of several entries of one source about the same entity or group the first one counts, and
        those of answers about a group of which it is a member come last.
        """
        first: dict[tuple[str, bool, str], Location] = {}
        groups = {
            source: set(entities.group_ids.tolist()) for source, entities in self.entities.items()
        }
        entries_of_source: dict[str, list[Entry]] = {source: [] for source in self.entities}
        for entry in sorted(records.entries, key=lambda entry: entry.of_group):
            if entry.collective and entry.entity_id not in groups[entry.source]:
                detail = (
                    f"no entity of source '{entry.source}' belongs to the group, or it had no "
                    "answer when the model was trained"
                )
                records.reject(entry.location, "unknown_group", detail)
            elif not entry.collective and not self._can_be_asked_for(entry.entity_id):
                detail = "requests write ids as whole numbers, and this is none"
                records.reject_entry(entry, "invalid_entity_id", detail)
            elif (key := (entry.source, entry.collective, entry.entity_id)) in first:
                detail = f"same entity as record {first[key].line} of {first[key].file}"
                records.reject_entry(entry, "duplicate_entity", detail)
            else:
                first[key] = entry.location
                entries_of_source[entry.source].append(entry)
        return {source: entries for source, entries in entries_of_source.items() if entries}

    def apply(
        self, encoded: Mapping[str, tuple[Sequence[Entry], np.ndarray]]
    ) -> dict[str, SourceChange]:
        """Lets new items and users join, and applies vectors.

        Args:
          encoded: source -> usable entries and their vectors, float16 [entries, dimension].

        Returns:
          Source -> what changes, for sources that change at all.

        Raises:
          CommandError: two ids cannot be told apart.
        """
        for entity, lookup in self.lookups.items():
            self._join(entity, lookup, encoded)
        changes = {}
        for source, (entries, vectors) in encoded.items():
            entities = self.entities[source]
            lookup = self.lookups[self.description.sources[source].entity]
            is_collective = np.array([entry.collective for entry in entries], bool)
            row_of_group = {group: row for row, group in enumerate(entities.group_ids.tolist())}
            new = NewVectors(
                lookup.rows([entry.entity_id for entry in entries if not entry.collective]),
                vectors[~is_collective],
                np.array(
                    [row_of_group[entry.entity_id] for entry in entries if entry.collective],
                    np.int64,
                ),
                vectors[is_collective],
            )
            change = change_source(entities, new)
            if len(change.rows):
                changes[source] = change
                self.entities[source] = change.entities
        return changes

    def forget(self, ids: Mapping[str, Sequence[str]]) -> ClearedRows:
        """Makes items and users unknown, and leaves nothing where their knowledge was.

        Args:
          ids: "item" and "user" -> raw ids.

        Raises:
          CommandError: the version is a retrieval model's, whose items cannot be taken out.
        """
        if self.description.is_retrieval and ids.get("item"):
            raise CommandError(
                "a retrieval model finds its items by their rows, which a refresh cannot take out; "
                "export a run that was trained without them"
            )
        forgotten = ClearedRows({}, {})
        for entity, lookup in self.lookups.items():
            rows = forgotten.rows[entity] = lookup.forget(ids.get(entity, ()))
            for source, entities in self.entities.items():
                if self.description.sources[source].entity == entity and len(rows):
                    self.entities[source], vacated = entities.without(rows)
                    forgotten.vacated[source] = vacated
        return forgotten

    def unread_groups(self, entries: Iterable[Entry]) -> int:
        """Number of entries about groups whose members all have answers of their own."""
        unread = {
            source: set(entities.group_ids[rows_of_groups(entities) == MISSING_ROW].tolist())
            for source, entities in self.entities.items()
        }
        return sum(
            entry.collective and entry.entity_id in unread[entry.source] for entry in entries
        )

    def coverage(self, entity: str) -> Coverage:
        """How many items or users have an individual answer, a group's, or none."""
        lookup = self.lookups.get(entity)
        return coverage(
            [
                entities
                for source, entities in self.entities.items()
                if self._counts(source, entity)
            ],
            0 if lookup is None else lookup.num_rows - 1,
        )

    def coverage_of_source(self, source: str) -> Coverage:
        """The same for one source."""
        entities = self.entities[source]
        return coverage([entities], len(entities.rows) - 1)

    def _counts(self, source: str, entity: str) -> bool:
        described = self.description.sources[source]
        return described.entity == entity and described.made_from in ("answers", "links", "vectors")

    def _join(
        self,
        entity: str,
        lookup: IdLookup,
        encoded: Mapping[str, tuple[Sequence[Entry], np.ndarray]],
    ) -> None:
        sources = [
            source
            for source, described in self.description.sources.items()
            if described.entity == entity
        ]
        ids = [
            entry.entity_id
            for source in sources
            if source in encoded
            for entry in encoded[source][0]
            if not entry.collective
        ]
        distinct = list(dict.fromkeys(ids))
        unknown = lookup.rows(distinct) == UNKNOWN_ROW
        new = [distinct[index] for index in np.flatnonzero(unknown)]
        try:
            lookup.add(new)
        except IndexOverflow as error:
            raise CommandError(
                f"the new {entity}s cannot be told from others by the version's index ({error}); "
                "encode the answers with the run's data and train again"
            ) from error
        for source in sources:
            self.entities[source] = self.entities[source].with_entities(len(new))

    def _can_be_asked_for(self, raw_id: str) -> bool:
        if self.description.id_type == "string":
            return True
        try:
            require_whole_numbers([raw_id], "entity")
        except ConfigurationError:
            return False
        return True
