"""Pipelines of the k-core filter, run one after the other.

Memory holds one shard at a time, the ids of all items while they are numbered, and one number per
item. Rounds read four bytes per interaction.
"""

from __future__ import annotations

import apache_beam as beam

from configs.raw_data import InteractionFilter
from preprocessing.dead_letters import read_dead_letter_batches
from preprocessing.gathering import DEAD_LETTERS, STATISTICS, GatherDeadLetters, gather_statistics
from preprocessing.interactions.filter_files import FilterFiles
from preprocessing.interactions.filter_transforms import (
    AddCounts,
    CodeShard,
    CountShard,
    NumberItems,
    ReadKept,
    StoreShard,
    WriteCounts,
)
from preprocessing.interactions.plan import LogPlan
from preprocessing.interactions.sharded_log import ShardedLog, in_every_shard, read_log


def build_coding_pipeline(pipeline: beam.Pipeline, plan: LogPlan, files: FilterFiles) -> None:
    """First pipeline: reads the log once, stores it by shard, and numbers items."""
    log = read_log(pipeline, plan)
    stored = (
        in_every_shard(pipeline, log.interactions, plan)
        | "ByShard" >> beam.GroupByKey()
        | "StoreShard"
        >> beam.ParDo(StoreShard(plan, files)).with_outputs(STATISTICS, DEAD_LETTERS, main="items")
    )
    numbered = (
        stored["items"]
        | "OneKey" >> beam.Map(lambda items: (0, items))
        | "Together" >> beam.GroupByKey()
        | "NumberItems" >> beam.ParDo(NumberItems(files))
    )
    coded = (
        pipeline
        | "Shards" >> beam.Create(range(plan.shards))
        | "SpreadShards" >> beam.Reshuffle()
        # The side input is there when all shards are stored.
        | "CodeShard" >> beam.ParDo(CodeShard(files), beam.pvalue.AsSingleton(numbered))
    )
    (log.dead_letters, stored[DEAD_LETTERS]) | "DeadLetters" >> GatherDeadLetters(
        files.dead_letters
    )
    integer_items = log.integer_items | "Describe" >> beam.Map(
        lambda integer_items: {"integer_items": integer_items}
    )
    (log.statistics, stored[STATISTICS], integer_items, coded) | "Statistics" >> gather_statistics(
        files.statistics
    )


def build_round_pipeline(
    pipeline: beam.Pipeline,
    shards: int,
    files: FilterFiles,
    settings: InteractionFilter | None,
) -> None:
    """Counts what is left of all shards when the items in `kept_items` are.

    Args:
      pipeline: an empty pipeline.
      shards: number of shards.
      files: what `build_coding_pipeline` left.
      settings: how many interactions a user needs; None counts everything.
    """
    _ = (
        pipeline
        | "Shards" >> beam.Create(range(shards))
        | "SpreadShards" >> beam.Reshuffle()
        | "CountShard" >> beam.ParDo(CountShard(files, settings))
        | "AddUp" >> beam.CombineGlobally(AddCounts())
        | "WriteCounts" >> beam.ParDo(WriteCounts(files))
    )


def read_filtered_log(
    pipeline: beam.Pipeline,
    plan: LogPlan,
    files: FilterFiles,
    integer_items: bool,
) -> ShardedLog:
    """The log without what was filtered out, in place of `sharded_log.read_log`."""
    kept = (
        pipeline
        | "Shards" >> beam.Create(range(plan.shards))
        | "SpreadShards" >> beam.Reshuffle()
        | "ReadKept"
        >> beam.ParDo(ReadKept(files, plan.data.filter)).with_outputs(STATISTICS, main="tables")
    )
    return ShardedLog(
        interactions=kept["tables"],
        integer_items=pipeline | "IntegerItems" >> beam.Create([integer_items]),
        dead_letters=pipeline
        | "FilterLetters" >> beam.Create([files.dead_letters])
        | "ReadLetters" >> beam.FlatMap(read_dead_letter_batches),
        statistics=kept[STATISTICS],
    )
