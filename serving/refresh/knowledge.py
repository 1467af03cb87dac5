"""The knowledge of a version: what a refresh reads of it, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from models.knowledge import MISSING_ROW
from serving.id_types import require_whole_numbers
from serving.refresh.changes import NewVectors, SourceChange, change_source, rows_of_groups
from serving.refresh.checkpoint import StoredVariables
from serving.refresh.coverage import Coverage, coverage
from serving.refresh.description import RefreshDescription, read_description
from serving.refresh.entities import KnownEntities, read_entities
from serving.refresh.id_lookup import IdLookup
from serving.refresh.incoming import Entry, RecordPlace, Records
from serving.refresh.layout import RefreshFolder
from serving.tables.id_index import UNKNOWN_ROW, IndexOverflow

_ENTITIES = ("item", "user")


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

    def usable(self, records: Records) -> dict[str, list[Entry]]:
        """Entries that the version has a place for, by source; the others are rejected.

        Of several entries of one source about the same entity or group the first one counts.
        """
        first: dict[tuple[str, bool, str], RecordPlace] = {}
        groups = {source: set(known.group_ids.tolist()) for source, known in self.entities.items()}
        found: dict[str, list[Entry]] = {source: [] for source in self.entities}
        for entry in records.entries:
            if entry.collective and entry.entity_id not in groups[entry.source]:
                detail = (
                    f"no entity of source '{entry.source}' belongs to the group, or it had no "
                    "answer when the model was trained"
                )
                records.reject(entry.place, "unknown_group", detail)
            elif not entry.collective and not self._can_be_asked_for(entry.entity_id):
                detail = "requests write ids as whole numbers, and this is none"
                records.reject(entry.place, "invalid_entity_id", detail)
            elif (key := (entry.source, entry.collective, entry.entity_id)) in first:
                detail = f"same entity as record {first[key].line} of {first[key].file}"
                records.reject(entry.place, "duplicate_entity", detail)
            else:
                first[key] = entry.place
                found[entry.source].append(entry)
        return {source: entries for source, entries in found.items() if entries}

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
            known = self.entities[source]
            lookup = self.lookups[self.description.sources[source].entity]
            of_group = np.array([entry.collective for entry in entries], bool)
            place = {group: place for place, group in enumerate(known.group_ids.tolist())}
            new = NewVectors(
                lookup.rows([entry.entity_id for entry in entries if not entry.collective]),
                vectors[~of_group],
                np.array(
                    [place[entry.entity_id] for entry in entries if entry.collective], np.int64
                ),
                vectors[of_group],
            )
            change = change_source(known, new)
            if len(change.rows):
                changes[source] = change
                self.entities[source] = change.entities
        return changes

    def unread_groups(self, entries: Iterable[Entry]) -> int:
        """Number of entries about groups whose members all have answers of their own."""
        unread = {
            source: set(known.group_ids[rows_of_groups(known) == MISSING_ROW].tolist())
            for source, known in self.entities.items()
        }
        return sum(
            entry.collective and entry.entity_id in unread[entry.source] for entry in entries
        )

    def coverage(self, entity: str) -> Coverage:
        """How many items or users have an individual answer, a group's, or none."""
        lookup = self.lookups.get(entity)
        return coverage(
            [known for source, known in self.entities.items() if self._counts(source, entity)],
            0 if lookup is None else lookup.num_rows - 1,
        )

    def coverage_of_source(self, source: str) -> Coverage:
        """The same for one source."""
        known = self.entities[source]
        return coverage([known], len(known.rows) - 1)

    def _counts(self, source: str, entity: str) -> bool:
        described = self.description.sources[source]
        return described.entity == entity and described.made_from in ("answers", "vectors")

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
        new = [distinct[place] for place in np.flatnonzero(unknown)]
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
