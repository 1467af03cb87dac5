"""The log inside a pipeline: read, parsed and divided into shards by user."""

from __future__ import annotations

from typing import NamedTuple

import apache_beam as beam

from preprocessing.arrow_bytes import table_to_bytes
from preprocessing.gathering import DEAD_LETTERS, STATISTICS
from preprocessing.interactions.plan import LogPlan
from preprocessing.interactions.reading import INTERACTION_SCHEMA
from preprocessing.interactions.reading_transforms import INTEGER_ITEMS, ParseInteractions
from preprocessing.tables.reading_transforms import ReadTable


class ShardedLog(NamedTuple):
    """The log as collections.

    Attributes:
      interactions: (shard, rows as an IPC stream of `INTERACTION_SCHEMA`); several for one shard.
      integer_items: one bool, True when all item ids are integers.
      dead_letters: lists of rejected rows.
      statistics: counts.
    """

    interactions: beam.PCollection
    integer_items: beam.PCollection
    dead_letters: beam.PCollection
    statistics: beam.PCollection


def read_log(pipeline: beam.Pipeline, plan: LogPlan) -> ShardedLog:
    """Reads and parses the log."""
    parsed = (
        pipeline
        | "ReadInteractions" >> ReadTable(plan.interactions)
        | "ParseInteractions"
        >> beam.ParDo(ParseInteractions(plan.interactions, plan.data, plan.shards)).with_outputs(
            STATISTICS, DEAD_LETTERS, INTEGER_ITEMS, main="tables"
        )
    )
    return ShardedLog(
        interactions=parsed["tables"],
        integer_items=parsed[INTEGER_ITEMS] | "AllIntegerItems" >> beam.CombineGlobally(all),
        dead_letters=parsed[DEAD_LETTERS],
        statistics=parsed[STATISTICS],
    )


def in_every_shard(
    pipeline: beam.Pipeline, interactions: beam.PCollection, plan: LogPlan
) -> beam.PCollection:
    """The interactions, with each shard named at least once: every shard gets its files."""
    nothing = (
        pipeline
        | "AllShards" >> beam.Create(range(plan.shards))
        | "NoInteractions"
        >> beam.Map(lambda shard: (shard, table_to_bytes(INTERACTION_SCHEMA.empty_table())))
    )
    return (interactions, nothing) | "Interactions" >> beam.Flatten()
