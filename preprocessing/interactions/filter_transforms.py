"""Beam transforms of the k-core filter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.raw_data import InteractionFilter
from preprocessing.arrow_bytes import concatenate, table_to_bytes
from preprocessing.gathering import DEAD_LETTERS, STATISTICS
from preprocessing.interactions.filter_files import (
    FilterFiles,
    read_coded,
    read_kept_items,
    read_table,
    write_coded,
    write_counts,
    write_table,
)
from preprocessing.interactions.k_core import (
    CodedShard,
    KeptCounts,
    add_counts,
    count_all,
    count_kept,
    kept_rows,
)
from preprocessing.interactions.plan import LogPlan
from preprocessing.interactions.reading import INTERACTION_SCHEMA, ITEM, USER
from preprocessing.interactions.rejections import REJECTED_INTERACTIONS, by_reason
from preprocessing.interactions.sequences import ordered_by, without_repeated


class StoreShard(beam.DoFn):
    """All interactions of a shard to a file; yields the ids of its items."""

    def __init__(self, plan: LogPlan, files: FilterFiles):
        super().__init__()
        self._plan = plan
        self._files = files

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        """See `beam.DoFn`."""
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

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[int]:
        """See `beam.DoFn`."""
        ids = pc.unique(concatenate(element[1], pa.schema({ITEM: pa.string()}))[ITEM])
        write_table(self._files.items, pa.table({ITEM: ids.take(pc.array_sort_indices(ids))}))
        yield len(ids)


class CodeShard(beam.DoFn):
    """Stored interactions of a shard to numbers."""

    def __init__(self, files: FilterFiles):
        super().__init__()
        self._files = files

    def process(self, element: int, items: int) -> Iterator[dict[str, int]]:
        """See `beam.DoFn`."""
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

    def process(self, element: int) -> Iterator[KeptCounts]:
        """See `beam.DoFn`."""
        shard, mask = read_coded(self._files, element), read_kept_items(self._files)
        if self._settings is None:
            yield count_all(shard, len(mask))
        else:
            yield count_kept(shard, mask, self._settings)


class AddCounts(beam.CombineFn):
    """Adds up the counts of shards."""

    def create_accumulator(self) -> KeptCounts | None:
        """See `beam.CombineFn`."""
        return None

    def add_input(self, accumulator: KeptCounts | None, element: KeptCounts) -> KeptCounts:
        """See `beam.CombineFn`."""
        return element if accumulator is None else add_counts(accumulator, element)

    def merge_accumulators(self, accumulators: Iterable[KeptCounts | None]) -> KeptCounts | None:
        """See `beam.CombineFn`."""
        merged = None
        for accumulator in accumulators:
            if accumulator is not None:
                merged = self.add_input(merged, accumulator)
        return merged

    def extract_output(self, accumulator: KeptCounts | None) -> KeptCounts | None:
        """See `beam.CombineFn`."""
        return accumulator


class WriteCounts(beam.DoFn):
    """Counts of all shards to a file."""

    def __init__(self, files: FilterFiles):
        super().__init__()
        self._files = files

    def process(self, element: KeptCounts) -> Iterator[str]:
        """See `beam.DoFn`."""
        write_counts(self._files, element)
        yield self._files.counts


class ReadKept(beam.DoFn):
    """Number of a shard to (shard, what is left of it)."""

    def __init__(self, files: FilterFiles, settings: InteractionFilter):
        super().__init__()
        self._files = files
        self._settings = settings

    def process(self, element: int) -> Iterator[Any]:
        """See `beam.DoFn`."""
        mask = read_kept_items(self._files)
        kept = kept_rows(read_coded(self._files, element), mask, self._settings)
        table = read_table(self._files.rows(element))
        yield beam.pvalue.TaggedOutput(STATISTICS, {"filtered_out": int((~kept).sum())})
        yield element, table_to_bytes(table.filter(pa.array(kept)))
