"""The pipeline of a source whose vectors were made elsewhere: vector files to knowledge TFRecords.

No encoder is loaded. Vectors are rounded to float16 and checked one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from preprocessing.answers.record import (
    Location,
    RejectedAnswer,
    refuse_forgotten,
)
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.knowledge.accepting import entity_shard
from preprocessing.knowledge.entity_vectors import WritingPlan, write_entity_vectors
from preprocessing.knowledge.vectors import KnowledgeRecord
from preprocessing.records.contract import INDIVIDUAL
from preprocessing.records.forgotten import Forgotten
from preprocessing.vector_files import (
    VectorBlock,
    VectorFilePart,
    read_part,
    usable_vector,
)


@dataclass(frozen=True)
class ImportPlan:
    """Everything the pipeline needs to know.

    Attributes:
      parts: parts of the vector files.
      width: width of the first vector, which all others must have.
      forgotten: those whose vectors are rejected.
      writing: where the records belong.
    """

    parts: tuple[VectorFilePart, ...]
    width: int
    forgotten: Forgotten
    writing: WritingPlan


def _blocks_of(part: VectorFilePart) -> Iterator[tuple[VectorFilePart, VectorBlock]]:
    """Part of a file to (part, block)."""
    for block in read_part(part):
        yield part, block


def _checked_vectors(
    element: tuple[VectorFilePart, VectorBlock], plan: ImportPlan
) -> Iterator[Any]:
    """Block to (shard, records), dead letters beside them."""
    part, block = element
    by_shard: dict[int, list[KnowledgeRecord]] = {}
    dead_letters: list[DeadLetter] = []
    rows = zip(block.entity_ids, block.vectors, block.extractions, block.group_ids, strict=True)
    for number, (entity_id, vector, extraction, group_id) in enumerate(
        rows, start=block.first_record
    ):
        try:
            checked = usable_vector(entity_id, vector, extraction, plan.width)
            refuse_forgotten(entity_id, plan.writing.entity, plan.forgotten)
        except RejectedAnswer as error:
            letter = dead_letter(part.file.name, number, error.reason, error.detail)
            dead_letters.append(letter)
            continue
        shard = entity_shard(entity_id, plan.writing.shards)
        by_shard.setdefault(shard, []).append(
            KnowledgeRecord(
                entity_id,
                extraction or INDIVIDUAL,
                group_id,
                checked.tobytes(),
                Location(part.file.name, number, part.file.order),
            )
        )
    yield beam.pvalue.TaggedOutput(STATISTICS, {"read": len(block.entity_ids)})
    yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
    yield from by_shard.items()


def build_import_pipeline(pipeline: beam.Pipeline, plan: ImportPlan) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      plan: what to do.
    """
    checked = (
        pipeline
        | "VectorFiles" >> beam.Create(plan.parts, reshuffle=False)
        | "SpreadFiles" >> beam.Reshuffle()
        | "ReadVectors" >> beam.FlatMap(_blocks_of)
        | "SpreadBlocks" >> beam.Reshuffle()  # one file is one element: let all workers check
        | "CheckVectors"
        >> beam.FlatMap(_checked_vectors, plan).with_outputs(
            STATISTICS, DEAD_LETTERS, main="vectors"
        )
    )
    write_entity_vectors(
        plan.writing,
        checked["vectors"],
        groups=pipeline | "NoGroupVectors" >> beam.Create([]),
        dead_letters=[checked[DEAD_LETTERS]],
        statistics=[checked[STATISTICS]],
    )
