"""The k-core filter (`data.filter`): a loop of pipelines over scratch files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from configs.command_line import say
from configs.data import InteractionFilter
from preprocessing.arrow_bytes import concatenate, table_to_bytes
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
    CodedShard,
    FilterFiles,
    KeptCounts,
    add_counts,
    count_all,
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
    USER,
    by_reason,
)
from preprocessing.interactions.sequences import ordered_by, without_repeated
from preprocessing.interactions.shard import LogPlan
from preprocessing.interactions.transforms import ShardedLog, in_every_shard, read_log


class StoreShard(beam.DoFn):
    """All interactions of a shard to a file; yields the ids of its items."""

    def __init__(self, plan: LogPlan, files: FilterFiles):
        super().__init__()
        self._plan = plan
        self._files = files

    @override
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        shard, parts = element
        table, dead_letters = without_repeated(
            concatenate(parts, INTERACTION_SCHEMA),
            self._plan.interactions.names,
            ordered_by(self._plan.data.interactions.columns),
        )
        if dead_letters:
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
            rejected = {REJECTED_INTERACTIONS: by_reason(dead_letters)}
            yield beam.pvalue.TaggedOutput(STATISTICS, rejected)
        write_table(self._files.rows(shard), table)
        yield table_to_bytes(pa.table({ITEM: pc.unique(table[ITEM])}))


class NumberItems(beam.DoFn):
    """Ids of items of all shards to one sorted list."""

    def __init__(self, files: FilterFiles):
        super().__init__()
        self._files = files

    @override
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[int]:
        ids = pc.unique(concatenate(element[1], pa.schema({ITEM: pa.string()}))[ITEM])
        write_table(self._files.items, pa.table({ITEM: ids.take(pc.array_sort_indices(ids))}))
        yield len(ids)


class CodeShard(beam.DoFn):
    """Stored interactions of a shard to numbers."""

    def __init__(self, files: FilterFiles):
        super().__init__()
        self._files = files

    @override
    def process(self, element: int, items: int) -> Iterator[dict[str, int]]:
        ids = read_table(self._files.items)[ITEM].combine_chunks()
        table = read_table(self._files.rows(element))
        codes = pc.index_in(table[ITEM].combine_chunks(), value_set=ids).to_numpy()
        users = table[USER].combine_chunks().dictionary_encode()
        counts = np.bincount(users.indices.to_numpy(), minlength=len(users.dictionary))
        write_coded(self._files, element, CodedShard(codes.astype(np.int32), counts))
        if element == 0:
            yield {"numbered_items": items}


class CountShard(beam.DoFn):
    """Number of a shard to counts of what is left of it."""

    def __init__(self, files: FilterFiles, settings: InteractionFilter | None):
        super().__init__()
        self._files = files
        self._settings = settings

    @override
    def process(self, element: int) -> Iterator[KeptCounts]:
        shard, mask = read_coded(self._files, element), read_kept_items(self._files)
        if self._settings is None:
            yield count_all(shard, len(mask))
        else:
            yield count_kept(shard, mask, self._settings)


class AddCounts(beam.CombineFn):
    """Adds up the counts of shards."""

    @override
    def create_accumulator(self) -> KeptCounts | None:
        return None

    @override
    def add_input(self, accumulator: KeptCounts | None, element: KeptCounts) -> KeptCounts:
        return element if accumulator is None else add_counts(accumulator, element)

    @override
    def merge_accumulators(self, accumulators: Iterable[KeptCounts | None]) -> KeptCounts | None:
        merged = None
        for accumulator in accumulators:
            if accumulator is not None:
                merged = self.add_input(merged, accumulator)
        return merged

    @override
    def extract_output(self, accumulator: KeptCounts | None) -> KeptCounts | None:
        return accumulator


class WriteCounts(beam.DoFn):
    """Counts of all shards to a file."""

    def __init__(self, files: FilterFiles):
        super().__init__()
        self._files = files

    @override
    def process(self, element: KeptCounts) -> Iterator[str]:
        write_counts(self._files, element)
        yield self._files.counts


class ReadKept(beam.DoFn):
    """Number of a shard to (shard, what is left of it)."""

    def __init__(self, files: FilterFiles, settings: InteractionFilter):
        super().__init__()
        self._files = files
        self._settings = settings

    @override
    def process(self, element: int) -> Iterator[Any]:
        mask = read_kept_items(self._files)
        kept = kept_rows(read_coded(self._files, element), mask, self._settings)
        table = read_table(self._files.rows(element))
        yield beam.pvalue.TaggedOutput(STATISTICS, {"filtered_out": int((~kept).sum())})
        yield element, table_to_bytes(table.filter(pa.array(kept)))


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
        | "Shards" >> beam.Create(range(plan.shards), reshuffle=False)
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
        | "Shards" >> beam.Create(range(shards), reshuffle=False)
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
        | "Shards" >> beam.Create(range(plan.shards), reshuffle=False)
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
    settings = plan.data.filter

    def count(mask: np.ndarray, minimum: InteractionFilter | None) -> KeptCounts:
        write_kept_items(files, mask)
        run_pipeline(
            lambda pipeline: build_round_pipeline(pipeline, plan.shards, files, minimum), beam
        )
        return read_counts(files)

    everything = np.ones(total(statistics, "numbered_items"), dtype=bool)
    kept = find_kept_items(count(everything, None), lambda mask: count(mask, settings), settings)
    left = kept.rounds[-1]
    say(
        f"data.filter keeps {left['interactions']:,} of {kept.unfiltered['interactions']:,} "
        f"interactions, {left['users']:,} users and {left['items']:,} items, in "
        f"{len(kept.rounds)} rounds"
    )
    return FilteredLog(files, integer_items, statistics, kept.unfiltered, kept.rounds)
