"""Beam transforms over the log: reading it, dividing it by user, where global time is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from configs.data import Data, Split
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS
from preprocessing.dead_letters import DeadLetter
from preprocessing.interactions.reading import (
    INTERACTION_SCHEMA,
    REJECTED_INTERACTIONS,
    by_reason,
    divided_by_shard,
    has_integer_items,
    parse_interactions,
    table_to_bytes,
)
from preprocessing.interactions.sequences import (
    count_sample_hours,
    time_cuts,
)
from preprocessing.interactions.shard import (
    LogPlan,
)
from preprocessing.tables.blocks import Block, ParsedBlock
from preprocessing.tables.reading_transforms import ReadTable
from preprocessing.tables.table_reader import TableReader


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
        >> beam.FlatMap(
            interactions_by_shard, plan.interactions, plan.data, plan.shards
        ).with_outputs(STATISTICS, DEAD_LETTERS, INTEGER_ITEMS, main="tables")
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
        | "AllShards" >> beam.Create(range(plan.shards), reshuffle=False)
        | "NoInteractions"
        >> beam.Map(lambda shard: (shard, table_to_bytes(INTERACTION_SCHEMA.empty_table())))
    )
    return (interactions, nothing) | "Interactions" >> beam.Flatten()


INTEGER_ITEMS = "integer_items"
"""Tag of the output that says for each block whether all its item ids are integers."""


def account(
    read: str, rejected: str, block: ParsedBlock, dead_letters: list[DeadLetter]
) -> Iterator[beam.pvalue.TaggedOutput]:
    """Counts of a block's records under two names, and its dead letters, each with its tag."""
    counts = {read: block.records, rejected: by_reason(dead_letters)}
    yield beam.pvalue.TaggedOutput(STATISTICS, counts)
    if dead_letters:
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)


def interactions_by_shard(
    element: Block, reader: TableReader, data: Data, shards: int
) -> Iterator[Any]:
    """Block of the log to (shard of the users, table), tagged outputs for everything else."""
    for block in reader.parse(element):
        table, dead_letters = parse_interactions(block, data)
        yield from account("interactions", REJECTED_INTERACTIONS, block, dead_letters)
        yield beam.pvalue.TaggedOutput(INTEGER_ITEMS, has_integer_items(table))
        yield from rows_by_shard(table, shards)


def rows_by_shard(table: pa.Table, shards: int) -> Iterator[tuple[int, bytes]]:
    """The same as `divided_by_shard`, rows as an IPC stream."""
    for shard, rows in divided_by_shard(table, shards):
        yield shard, table_to_bytes(rows)


def find_time_cuts(shards: beam.PCollection, split: Split) -> beam.PCollection | None:
    """Where the parts end: one `TimeCuts`; None for splits that need none.

    Args:
      shards: `Shard` of all users.
      split: configuration of the split.
    """
    if split.by != "global_time":
        return None
    return (
        shards
        | "CountSampleHours" >> beam.Map(lambda shard: count_sample_hours(shard.sequences, split))
        | "AddUpHours" >> beam.CombineGlobally(_add_up)
        | "TimeCuts" >> beam.Map(time_cuts, split)
    )


def as_singleton(collection: beam.PCollection | None) -> beam.pvalue.AsSingleton | None:
    """A side input with one element, or none at all."""
    return None if collection is None else beam.pvalue.AsSingleton(collection)


def _add_up(counters: Iterable[Counter[int]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for counter in counters:
        total.update(counter)
    return total
