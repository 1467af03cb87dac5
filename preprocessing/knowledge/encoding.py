"""Second pipeline of the step `encode`: accepted answers to knowledge TFRecords."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from configs.knowledge import Encoder
from preprocessing.gathering import DEAD_LETTERS, STATISTICS
from preprocessing.knowledge.accepting import entity_shard
from preprocessing.knowledge.entity_vectors import EntityVector, WritingPlan, write_entity_vectors
from preprocessing.knowledge.text_vectors import EncodeAnswers, TextVectors
from preprocessing.knowledge.vectors import usable_vectors
from preprocessing.records.contract import COLLECTIVE, INDIVIDUAL


@dataclass(frozen=True)
class EncodingPlan:
    """Everything the pipeline needs to know. Folders are paths or URLs that all workers see.

    Attributes:
      encoder: configuration of the encoder.
      prepared: folder where the prepared encoder lies.
      accepted: folder with the accepted answers.
      cache: folder of kept vectors; None to look up and keep none.
      answers: number of accepted answers.
      writing: where the records belong.
    """

    encoder: Encoder
    prepared: str
    accepted: str
    cache: str | None
    answers: int
    writing: WritingPlan


class KeepUsableVectors(beam.DoFn):
    """Vectors of texts to (shard, entity vectors), tagged (group, vector) and dead letters."""

    def __init__(self, shards: int):
        super().__init__()
        self._shards = shards

    def process(self, element: TextVectors) -> Iterator[Any]:
        """See `beam.DoFn`."""
        usable, dead_letters = usable_vectors(element.answers, element.vectors, element.refused)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield beam.pvalue.TaggedOutput(STATISTICS, {"usable": len(usable)})
        by_shard: dict[int, list[EntityVector]] = {}
        for answer, vector in usable:
            if answer.extraction == COLLECTIVE:
                yield beam.pvalue.TaggedOutput(COLLECTIVE, (answer.entity_id, vector))
            else:
                shard = entity_shard(answer.entity_id, self._shards)
                by_shard.setdefault(shard, []).append(
                    EntityVector(
                        entity_id=answer.entity_id,
                        file_order=answer.file_order,
                        line=answer.line,
                        file=answer.file,
                        extraction=INDIVIDUAL,
                        group_id="",
                        vector=vector,
                    )
                )
        yield from by_shard.items()


def build_encoding_pipeline(pipeline: beam.Pipeline, plan: EncodingPlan) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      plan: what to do.
    """
    encoded = (
        pipeline
        | "AnswerShards" >> beam.Create(range(plan.writing.shards))
        | "SpreadShards" >> beam.Reshuffle()  # they were made in one place: let all workers read
        | "EncodeAnswers"
        >> EncodeAnswers(plan.encoder, plan.prepared, plan.accepted, plan.cache, plan.answers)
    )
    usable = encoded["vectors"] | "KeepUsableVectors" >> beam.ParDo(
        KeepUsableVectors(plan.writing.shards)
    ).with_outputs(STATISTICS, DEAD_LETTERS, COLLECTIVE, main=INDIVIDUAL)
    write_entity_vectors(
        plan.writing,
        usable[INDIVIDUAL],
        usable[COLLECTIVE],
        dead_letters=[usable[DEAD_LETTERS]],
        statistics=[encoded[STATISTICS], usable[STATISTICS]],
    )
