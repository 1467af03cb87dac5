"""Second pipeline of the step `encode`: accepted answers to knowledge TFRecords.

Individual answers belong to their entity. The vector of a collective answer goes to every entity
of its group that has no individual answer. Both meet by grouping, so neither has to fit into the
memory of one worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference

from configs.scenario import Encoder
from preprocessing.csv_blocks import CsvBlock, read_blocks
from preprocessing.gathering import DEAD_LETTERS, STATISTICS, gather_dead_letters, gather_statistics
from preprocessing.knowledge.accepting import (
    LocatedAnswer,
    accepted_file,
    entity_shard,
    read_accepted,
)
from preprocessing.knowledge.groups import Membership, group_of_entity, parse_memberships
from preprocessing.knowledge.inference import TEXTS_PER_ELEMENT, EncoderHandler
from preprocessing.knowledge.vectors import KnowledgeRecord, usable_vectors, write_knowledge
from preprocessing.records.contract import COLLECTIVE, INDIVIDUAL
from preprocessing.records.layout import KnowledgeDirectory

WAITING = "waiting"


@dataclass(frozen=True)
class EncodingPlan:
    """Everything the pipeline needs to know.

    Attributes:
      encoder: configuration of the encoder.
      texts: number of accepted answers.
      entity: "item" or "user".
      groups: the groups file, if there is one.
      groups_header: its column names.
      shards: number of TFRecord files.
      accepted: folder with the accepted answers.
      folder: where the TFRecords belong, and where the prepared encoder lies.
    """

    encoder: Encoder
    texts: int
    entity: str
    groups: str | None
    groups_header: list[str]
    shards: int
    accepted: Path
    folder: Path


class ReadAccepted(beam.DoFn):
    """Shard number to (answers, their texts), some hundred at a time."""

    def __init__(self, folder: Path):
        super().__init__()
        self._folder = folder

    def process(self, element: int) -> Iterator[tuple[list[LocatedAnswer], list[str]]]:
        """See `beam.DoFn`."""
        batch: list[LocatedAnswer] = []
        for answer in read_accepted(accepted_file(self._folder, element)):
            batch.append(answer)
            if len(batch) == TEXTS_PER_ELEMENT:
                yield batch, [answer.text for answer in batch]
                batch = []
        if batch:
            yield batch, [answer.text for answer in batch]


class KeepUsableVectors(beam.DoFn):
    """Encoder output to (shard, individual vectors), tagged (group, vector) and dead letters."""

    def __init__(self, shards: int):
        super().__init__()
        self._shards = shards

    def process(self, element: tuple[list[LocatedAnswer], np.ndarray]) -> Iterator[Any]:
        """See `beam.DoFn`."""
        answers, vectors = element
        usable, dead_letters = usable_vectors(answers, vectors)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield beam.pvalue.TaggedOutput(STATISTICS, {"encoded": len(usable)})
        by_shard: dict[int, list[tuple[str, bytes]]] = {}
        for answer, vector in usable:
            if answer.extraction == COLLECTIVE:
                yield beam.pvalue.TaggedOutput(COLLECTIVE, (answer.entity_id, vector))
            else:
                shard = entity_shard(answer.entity_id, self._shards)
                by_shard.setdefault(shard, []).append((answer.entity_id, vector))
        yield from by_shard.items()


class ReadMemberships(beam.DoFn):
    """Block of the groups file to (shard, memberships)."""

    def __init__(self, plan: EncodingPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: CsvBlock) -> Iterator[Any]:
        """See `beam.DoFn`."""
        plan = self._plan
        memberships, dead_letters, read = parse_memberships(
            element, plan.groups_header, plan.entity
        )
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield beam.pvalue.TaggedOutput(STATISTICS, {"group_rows": read})
        by_shard: dict[int, list[Membership]] = {}
        for membership in memberships:
            shard = entity_shard(membership.entity_id, plan.shards)
            by_shard.setdefault(shard, []).append(membership)
        yield from by_shard.items()


class JoinMemberships(beam.DoFn):
    """Entities of a shard to records, tagged (group, (shard, entities without an answer))."""

    def __init__(self, groups_path: str | None):
        super().__init__()
        self._groups_path = groups_path

    def process(self, element: tuple[int, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        """See `beam.DoFn`."""
        shard, grouped = element
        memberships = (entry for batch in grouped["memberships"] for entry in batch)
        groups, dead_letters = group_of_entity(memberships, self._groups_path or "")
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        vectors = {entity_id: vector for batch in grouped["vectors"] for entity_id, vector in batch}
        yield beam.pvalue.TaggedOutput(STATISTICS, {"individual_entities": len(vectors)})
        yield (
            shard,
            [
                KnowledgeRecord(entity_id, INDIVIDUAL, groups.get(entity_id, ""), vector)
                for entity_id, vector in vectors.items()
            ],
        )
        waiting: dict[str, list[str]] = {}
        for entity_id, group_id in groups.items():
            if entity_id not in vectors:
                waiting.setdefault(group_id, []).append(entity_id)
        for group_id, entity_ids in waiting.items():
            yield beam.pvalue.TaggedOutput(WAITING, (group_id, (shard, entity_ids)))


class ShareGroupVector(beam.DoFn):
    """Group with its vector and waiting entities to (shard, records)."""

    def process(self, element: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        """See `beam.DoFn`."""
        group_id, grouped = element
        vectors = list(grouped["vectors"])
        shared = 0
        missing = 0
        for shard, entity_ids in grouped[WAITING]:
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
    """All records of a shard to a TFRecord file."""

    def __init__(self, plan: EncodingPlan):
        super().__init__()
        self._plan = plan

    def process(
        self, element: tuple[int, Iterable[list[KnowledgeRecord]]]
    ) -> Iterator[dict[str, int]]:
        """See `beam.DoFn`."""
        shard, batches = element
        path = KnowledgeDirectory(self._plan.folder).shard(shard, self._plan.shards)
        records = write_knowledge(path, (record for batch in batches for record in batch))
        yield {"shard": shard, "records": records}


def build_encoding_pipeline(
    pipeline: beam.Pipeline, plan: EncodingPlan, dead_letters_path: Path, statistics_path: Path
) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      plan: what to do.
      dead_letters_path: JSON lines file for rejected answers and group rows.
      statistics_path: JSON file for the counts of all workers.
    """
    shards = range(plan.shards)
    handler: ModelHandler = KeyedModelHandler(EncoderHandler(plan.encoder, plan.folder, plan.texts))
    encoded = (
        pipeline
        | "AnswerShards" >> beam.Create(shards)
        | "SpreadShards"
        >> beam.Reshuffle()  # shards were made in one place: let all workers encode
        | "ReadAccepted" >> beam.ParDo(ReadAccepted(plan.accepted))
        | "EncodeTexts" >> RunInference(handler)
        | "KeepUsableVectors"
        >> beam.ParDo(KeepUsableVectors(plan.shards)).with_outputs(
            STATISTICS, DEAD_LETTERS, COLLECTIVE, main=INDIVIDUAL
        )
    )
    memberships = (
        pipeline
        | "GroupsFile" >> beam.Create([plan.groups] if plan.groups else [])
        | "ReadGroups" >> beam.FlatMap(read_blocks)
        | "ReadMemberships"
        >> beam.ParDo(ReadMemberships(plan)).with_outputs(
            STATISTICS, DEAD_LETTERS, main="memberships"
        )
    )
    # Every shard gets a file, so each number appears once without entities.
    nothing = (
        pipeline
        | "AllShards" >> beam.Create(shards)
        | "NoVectors" >> beam.Map(lambda shard: (shard, []))
    )
    vectors = (encoded[INDIVIDUAL], nothing) | "Vectors" >> beam.Flatten()
    joined = (
        {"vectors": vectors, "memberships": memberships["memberships"]}
        | "ByShard" >> beam.CoGroupByKey()
        | "JoinMemberships"
        >> beam.ParDo(JoinMemberships(plan.groups)).with_outputs(
            STATISTICS, DEAD_LETTERS, WAITING, main="records"
        )
    )
    shared = (
        {"vectors": encoded[COLLECTIVE], WAITING: joined[WAITING]}
        | "ByGroup" >> beam.CoGroupByKey()
        | "ShareGroupVector"
        >> beam.ParDo(ShareGroupVector()).with_outputs(STATISTICS, main="records")
    )
    written = (
        (joined["records"], shared["records"])
        | "Records" >> beam.Flatten()
        | "ToShards" >> beam.GroupByKey()
        | "WriteKnowledge" >> beam.ParDo(WriteKnowledge(plan))
    )
    dead_letters = (encoded[DEAD_LETTERS], memberships[DEAD_LETTERS], joined[DEAD_LETTERS])
    dead_letters | "DeadLetters" >> gather_dead_letters(dead_letters_path)
    counted = (encoded, memberships, joined, shared)
    statistics = (*(output[STATISTICS] for output in counted), written)
    statistics | "Statistics" >> gather_statistics(statistics_path)
