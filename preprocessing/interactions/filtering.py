"""The k-core filter (`data.filter`): a loop of pipelines over scratch files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.command_line import say
from configs.data import InteractionFilter
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.beam_sinks import (
    DEAD_LETTERS,
    STATISTICS,
    GatherDeadLetters,
    gather_statistics,
    read_statistics,
    total,
)
from preprocessing.dead_letters import read_dead_letter_batches
from preprocessing.interactions.k_core import (
    FilterFiles,
    KeptCounts,
    add_up,
    coded,
    count_kept,
    find_kept_items,
    kept_rows,
    read_coded,
    read_counts,
    read_kept_items,
    read_table,
    write_coded,
    write_counts,
    write_kept_items,
    write_table,
)
from preprocessing.interactions.reading import (
    INTERACTION_SCHEMA,
    ITEM,
    REJECTED_INTERACTIONS,
    by_reason,
    concatenate,
    sorted_ids,
    table_to_bytes,
)
from preprocessing.interactions.sequences import ordered_by, without_repeated
from preprocessing.interactions.shard import LogPlan
from preprocessing.interactions.transforms import ShardedLog, in_every_shard, read_log


def _stored_shard(
    element: tuple[int, Iterable[bytes]], plan: LogPlan, files: FilterFiles
) -> Iterator[Any]:
    """All interactions of a shard to a file; yields the ids of its items."""
    shard, parts = element
    table, dead_letters = without_repeated(
        concatenate(parts, INTERACTION_SCHEMA),
        plan.interactions.names,
        ordered_by(plan.data.interactions.columns),
    )
    if dead_letters:
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        rejected = {REJECTED_INTERACTIONS: by_reason(dead_letters)}
        yield beam.pvalue.TaggedOutput(STATISTICS, rejected)
    write_table(files.rows(shard), table)
    yield table_to_bytes(pa.table({ITEM: pc.unique(table[ITEM])}))


def _numbered_items(element: tuple[int, Iterable[bytes]], files: FilterFiles) -> int:
    """Ids of items of all shards to one sorted list; returns their number."""
    ids = sorted_ids(concatenate(element[1], pa.schema({ITEM: pa.string()}))[ITEM])
    write_table(files.items, pa.table({ITEM: ids}))
    return len(ids)


def _coded_shard(shard: int, files: FilterFiles, items: int) -> Iterator[dict[str, int]]:
    """Stored interactions of a shard to numbers."""
    ids = read_table(files.items)[ITEM].combine_chunks()
    write_coded(files, shard, coded(read_table(files.rows(shard)), ids))
    if shard == 0:
        yield {"numbered_items": items}


def _counted_shard(shard: int, files: FilterFiles, settings: InteractionFilter) -> KeptCounts:
    """Counts of what is left of a shard."""
    return count_kept(read_coded(files, shard), read_kept_items(files), settings)


def _kept_shard(shard: int, files: FilterFiles, settings: InteractionFilter) -> Iterator[Any]:
    """Number of a shard to (shard, what is left of it)."""
    kept = kept_rows(read_coded(files, shard), read_kept_items(files), settings)
    yield beam.pvalue.TaggedOutput(STATISTICS, {"filtered_out": int((~kept).sum())})
    yield shard, table_to_bytes(read_table(files.rows(shard)).filter(pa.array(kept)))


def build_coding_pipeline(pipeline: beam.Pipeline, plan: LogPlan, files: FilterFiles) -> None:
    """First pipeline: reads the log once, stores it by shard, and numbers items."""
    log = read_log(pipeline, plan)
    stored = (
        in_every_shard(pipeline, log.interactions, plan)
        | "ByShard" >> beam.GroupByKey()
        | "StoreShard"
        >> beam.FlatMap(_stored_shard, plan, files).with_outputs(
            STATISTICS, DEAD_LETTERS, main="items"
        )
    )
    numbered = (
        stored["items"]
        | "OneKey" >> beam.Map(lambda items: (0, items))
        | "Together" >> beam.GroupByKey()
        | "NumberItems" >> beam.Map(_numbered_items, files)
    )
    coded = (
        pipeline
        | "Shards" >> beam.Create(range(plan.shards), reshuffle=False)
        | "SpreadShards" >> beam.Reshuffle()
        # The side input is there when all shards are stored.
        | "CodeShard" >> beam.FlatMap(_coded_shard, files, beam.pvalue.AsSingleton(numbered))
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
    pipeline: beam.Pipeline, shards: int, files: FilterFiles, settings: InteractionFilter
) -> None:
    """Counts what is left of all shards when the items in `kept_items` are.

    Args:
      pipeline: an empty pipeline.
      shards: number of shards.
      files: what `build_coding_pipeline` left.
      settings: how many interactions a user needs.
    """
    _ = (
        pipeline
        | "Shards" >> beam.Create(range(shards), reshuffle=False)
        | "SpreadShards" >> beam.Reshuffle()
        | "CountShard" >> beam.Map(_counted_shard, files, settings)
        | "AddUp" >> beam.CombineGlobally(add_up).without_defaults()
        | "WriteCounts" >> beam.Map(lambda counts: write_counts(files, counts))
    )


@dataclass(frozen=True)
class FilteredLog:
    """The log by shard, and what of it is left.

    Attributes:
      files: the scratch files.
      integer_items: True when all item ids of the whole log are integers.
      statistics: counts of reading the log.
      unfiltered: users, items and interactions of the whole log.
      rounds: the same numbers after each round; the last one says what is left.
    """

    files: FilterFiles
    integer_items: bool
    statistics: list[dict[str, Any]]
    unfiltered: dict[str, int]
    rounds: list[dict[str, int]]


def read_filtered_log(
    pipeline: beam.Pipeline, plan: LogPlan, filtered: FilteredLog | None
) -> ShardedLog:
    """The log without what was filtered out; all of it if `filtered` is None."""
    if filtered is None:
        return read_log(pipeline, plan)
    files = filtered.files
    kept = (
        pipeline
        | "Shards" >> beam.Create(range(plan.shards), reshuffle=False)
        | "SpreadShards" >> beam.Reshuffle()
        | "ReadKept"
        >> beam.FlatMap(_kept_shard, files, plan.data.filter).with_outputs(
            STATISTICS, main="tables"
        )
    )
    return ShardedLog(
        interactions=kept["tables"],
        integer_items=pipeline | "IntegerItems" >> beam.Create([filtered.integer_items]),
        dead_letters=pipeline
        | "FilterLetters" >> beam.Create([files.dead_letters])
        | "ReadLetters" >> beam.FlatMap(read_dead_letter_batches),
        statistics=kept[STATISTICS],
    )


def filter_log(plan: LogPlan, folder: str, beam: BeamOptions) -> FilteredLog:
    """Reads the log and finds out what `data.filter` leaves.

    Args:
      plan: what to read, and into how many shards.
      folder: for scratch files, an absolute path or URL that all workers see.
      beam: runner and options.
    """
    files = FilterFiles(folder)
    run_pipeline(lambda pipeline: build_coding_pipeline(pipeline, plan, files), beam)
    statistics = read_statistics(files.statistics)
    (integer_items,) = (entry["integer_items"] for entry in statistics if "integer_items" in entry)

    def count(mask: np.ndarray, minimum: InteractionFilter) -> KeptCounts:
        write_kept_items(files, mask)
        run_pipeline(
            lambda pipeline: build_round_pipeline(pipeline, plan.shards, files, minimum), beam
        )
        return read_counts(files)

    kept = find_kept_items(count, total(statistics, "numbered_items"), plan.data.filter)
    left = kept.rounds[-1]
    say(
        f"data.filter keeps {left['interactions']:,} of {kept.unfiltered['interactions']:,} "
        f"interactions, {left['users']:,} users and {left['items']:,} items, in "
        f"{len(kept.rounds)} rounds"
    )
    return FilteredLog(files, integer_items, statistics, kept.unfiltered, kept.rounds)
