"""Vectors of entities and of groups to knowledge TFRecords, one record per entity.

The vector of a group goes to every entity of the group that has none of its own. Both meet by
grouping, so neither has to fit into the memory of one worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from preprocessing import storage
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.gathering import DEAD_LETTERS, STATISTICS, GatherDeadLetters, gather_statistics
from preprocessing.knowledge.accepting import entity_shard
from preprocessing.knowledge.groups import Membership, group_of_entity, parse_memberships
from preprocessing.knowledge.vector_statistics import WriteVectorStatistics, shard_statistics
from preprocessing.knowledge.vectors import KnowledgeRecord, write_knowledge
from preprocessing.records.contract import COLLECTIVE, INDIVIDUAL
from preprocessing.records.layout import VECTOR_STATISTICS_FILE, shard_name
from preprocessing.tables.blocks import Block
from preprocessing.tables.reading_transforms import ReadTable
from preprocessing.tables.table_reader import TableReader

_WAITING = "waiting"
_VECTORS = "vectors"
_MEMBERSHIPS = "memberships"


@dataclass(frozen=True, order=True)
class EntityVector:
    """A vector of one entity, and where it is from.

    Attributes:
      entity_id: item or user id.
      file_order: place of its file in the configuration; the first vector of an entity counts.
      line: line or record number in the file.
      file: how the configuration names the file.
      extraction: "individual" or "collective".
      group_id: group of the entity, unless the groups file says otherwise; "" if unknown.
      vector: float16 numbers as bytes.
    """

    entity_id: str
    file_order: int
    line: int
    file: str
    extraction: str
    group_id: str
    vector: bytes


@dataclass(frozen=True)
class WritingPlan:
    """Where knowledge records belong.

    Attributes:
      entity: "item" or "user".
      groups: reads the groups file, if there is one.
      shards: number of TFRecord files.
      folder: path or URL of the step's folder, as all workers see it.
      dead_letters: JSON lines file for rejected records.
      statistics: JSON file for the counts of all workers.
    """

    entity: str
    groups: TableReader | None
    shards: int
    folder: str
    dead_letters: str
    statistics: str


class ReadMemberships(beam.DoFn):
    """Block of the groups file to (shard, memberships)."""

    def __init__(self, plan: WritingPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: Block) -> Iterator[Any]:
        """See `beam.DoFn`."""
        plan = self._plan
        assert plan.groups is not None
        for block in plan.groups.parse(element):
            memberships, dead_letters = parse_memberships(block, plan.entity)
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
            yield beam.pvalue.TaggedOutput(STATISTICS, {"group_rows": block.records})
            by_shard: dict[int, list[Membership]] = {}
            for membership in memberships:
                shard = entity_shard(membership.entity_id, plan.shards)
                by_shard.setdefault(shard, []).append(membership)
            yield from by_shard.items()


class JoinMemberships(beam.DoFn):
    """Entities of a shard to (shard, records), tagged (group, (shard, entities without vector))."""

    def __init__(self, groups: TableReader | None):
        super().__init__()
        self._groups_path = groups.names[0] if groups else ""

    def process(self, element: tuple[int, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        """See `beam.DoFn`."""
        shard, grouped = element
        memberships = (entry for batch in grouped[_MEMBERSHIPS] for entry in batch)
        groups, group_letters = group_of_entity(memberships, self._groups_path)
        vectors, vector_letters = first_vectors(
            vector for batch in grouped[_VECTORS] for vector in batch
        )
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, group_letters + vector_letters)
        records = [
            KnowledgeRecord(
                entity_id, found.extraction, groups.get(entity_id, found.group_id), found.vector
            )
            for entity_id, found in vectors.items()
        ]
        individual = sum(record.extraction == INDIVIDUAL for record in records)
        counts = {
            "individual_entities": individual,
            "collective_entities": len(records) - individual,
        }
        yield beam.pvalue.TaggedOutput(STATISTICS, counts)
        yield shard, records
        waiting: dict[str, list[str]] = {}
        for entity_id, group_id in groups.items():
            if entity_id not in vectors:
                waiting.setdefault(group_id, []).append(entity_id)
        for group_id, entity_ids in waiting.items():
            yield beam.pvalue.TaggedOutput(_WAITING, (group_id, (shard, entity_ids)))


def first_vectors(
    vectors: Iterable[EntityVector],
) -> tuple[dict[str, EntityVector], list[DeadLetter]]:
    """The first vector of each entity; later ones become dead letters."""
    found: dict[str, EntityVector] = {}
    dead_letters: list[DeadLetter] = []
    for vector in sorted(vectors):
        first = found.setdefault(vector.entity_id, vector)
        if first is not vector:
            detail = f"same entity as record {first.line} of {first.file}"
            dead_letters.append(dead_letter(vector.file, vector.line, "duplicate_entity", detail))
    return found, dead_letters


class ShareGroupVector(beam.DoFn):
    """Group with its vector and waiting entities to (shard, records)."""

    def process(self, element: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        """See `beam.DoFn`."""
        group_id, grouped = element
        vectors = list(grouped[_VECTORS])
        shared = 0
        missing = 0
        for shard, entity_ids in grouped[_WAITING]:
            if not vectors:
                missing += len(entity_ids)
                continue
            shared += len(entity_ids)
            records = [
                KnowledgeRecord(entity_id, COLLECTIVE, group_id, vectors[0])
                for entity_id in entity_ids
            ]
            yield shard, records
        counts = {
            "collective_entities": shared,
            "entities_without_answer": missing,
            "unused_group_answers": int(bool(vectors) and not shared),
        }
        yield beam.pvalue.TaggedOutput(STATISTICS, counts)


class WriteKnowledge(beam.DoFn):
    """All records of a shard to a TFRecord file, tagged their `ShardStatistics`."""

    def __init__(self, plan: WritingPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: tuple[int, Iterable[list[KnowledgeRecord]]]) -> Iterator[Any]:
        """See `beam.DoFn`."""
        shard, batches = element
        path = storage.join(self._plan.folder, shard_name(shard, self._plan.shards))
        records = write_knowledge(path, (record for batch in batches for record in batch))
        yield {"shard": shard, "records": len(records)}
        if records:
            yield beam.pvalue.TaggedOutput(_VECTORS, (0, shard_statistics(shard, records)))


def write_entity_vectors(
    plan: WritingPlan,
    entities: beam.PCollection,
    groups: beam.PCollection,
    dead_letters: Iterable[beam.PCollection],
    statistics: Iterable[beam.PCollection],
) -> None:
    """Applies all transforms from vectors to files.

    Args:
      plan: where they belong.
      entities: (shard, [EntityVector]).
      groups: (group, vector as bytes), each group once.
      dead_letters: lists of dead letters of earlier transforms.
      statistics: counts of earlier transforms.
    """
    pipeline = entities.pipeline
    memberships = (
        pipeline
        | "ReadGroups" >> ReadTable(plan.groups)
        | "ReadMemberships"
        >> beam.ParDo(ReadMemberships(plan)).with_outputs(
            STATISTICS, DEAD_LETTERS, main=_MEMBERSHIPS
        )
    )
    # Every shard gets a file, so each number appears once without entities.
    nothing = (
        pipeline
        | "AllShards" >> beam.Create(range(plan.shards))
        | "NoVectors" >> beam.Map(lambda shard: (shard, []))
    )
    joined = (
        {
            _VECTORS: (entities, nothing) | "Vectors" >> beam.Flatten(),
            _MEMBERSHIPS: memberships[_MEMBERSHIPS],
        }
        | "ByShard" >> beam.CoGroupByKey()
        | "JoinMemberships"
        >> beam.ParDo(JoinMemberships(plan.groups)).with_outputs(
            STATISTICS, DEAD_LETTERS, _WAITING, main="records"
        )
    )
    shared = (
        {_VECTORS: groups, _WAITING: joined[_WAITING]}
        | "ByGroup" >> beam.CoGroupByKey()
        | "ShareGroupVector"
        >> beam.ParDo(ShareGroupVector()).with_outputs(STATISTICS, main="records")
    )
    written = (
        (joined["records"], shared["records"])
        | "Records" >> beam.Flatten()
        | "ToShards" >> beam.GroupByKey()
        | "WriteKnowledge" >> beam.ParDo(WriteKnowledge(plan)).with_outputs(_VECTORS, main="counts")
    )
    report = (
        written[_VECTORS]
        | "AllStatistics" >> beam.GroupByKey()
        | "WriteVectorStatistics"
        >> beam.ParDo(WriteVectorStatistics(storage.join(plan.folder, VECTOR_STATISTICS_FILE)))
    )
    letters = (*dead_letters, memberships[DEAD_LETTERS], joined[DEAD_LETTERS])
    letters | "DeadLetters" >> GatherDeadLetters(plan.dead_letters)
    counted = (memberships, joined, shared)
    counts = (*statistics, *(output[STATISTICS] for output in counted), written["counts"], report)
    counts | "Statistics" >> gather_statistics(plan.statistics)
