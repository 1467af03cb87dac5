"""Beam transforms over the log: reading it, dividing it by user, writing each shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from configs.data import CatalogueTable, Data, Profiles, Split
from preprocessing.arrow_bytes import concatenate, table_from_bytes, table_to_bytes
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS
from preprocessing.dead_letters import DeadLetter
from preprocessing.hashing import stable_hashes
from preprocessing.interactions.catalogue import (
    collect_items,
    collect_profiles,
    parse_catalogue,
    parse_profiles,
)
from preprocessing.interactions.leak_check import SeenPrompt, read_seen_prompts
from preprocessing.interactions.reading import (
    INTERACTION_SCHEMA,
    ITEM,
    REJECTED_CATALOGUE,
    REJECTED_INTERACTIONS,
    REJECTED_PROFILES,
    USER,
    by_reason,
    parse_interactions,
)
from preprocessing.interactions.samples import (
    NUM_POPULATIONS,
    ItemUniverse,
    drawn_by_popularity,
    population_of_rows,
    user_folds,
)
from preprocessing.interactions.sequences import (
    HISTORY_ONLY,
    TimeCuts,
    count_sample_hours,
    order_interactions,
    ordered_by,
    split_interactions,
    time_cuts,
)
from preprocessing.interactions.shard import (
    ExamplesPlan,
    LogPlan,
    Shard,
    write_shard,
    write_summary,
)
from preprocessing.interactions.training_log import has_integer_items, rows_by_shard
from preprocessing.records.item_tables import ITEM_ID
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
        | "AllShards" >> beam.Create(range(plan.shards), reshuffle=False)
        | "NoInteractions"
        >> beam.Map(lambda shard: (shard, table_to_bytes(INTERACTION_SCHEMA.empty_table())))
    )
    return (interactions, nothing) | "Interactions" >> beam.Flatten()


INTEGER_ITEMS = "integer_items"
"""Tag of the output that says for each block whether all its item ids are integers."""


def _account(
    read: str, rejected: str, block: ParsedBlock, dead_letters: list[DeadLetter]
) -> Iterator[beam.pvalue.TaggedOutput]:
    """What became of a block's records: counts under two names, and dead letters."""
    counts = {read: block.records, rejected: by_reason(dead_letters)}
    yield beam.pvalue.TaggedOutput(STATISTICS, counts)
    if dead_letters:
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)


class ParseInteractions(beam.DoFn):
    """Block to (shard of the users, table), tagged outputs for everything else."""

    def __init__(self, reader: TableReader, data: Data, shards: int):
        super().__init__()
        self._reader = reader
        self._data = data
        self._shards = shards

    @override
    def process(self, element: Block) -> Iterator[Any]:
        for block in self._reader.parse(element):
            table, dead_letters = parse_interactions(block, self._data)
            yield from _account("interactions", REJECTED_INTERACTIONS, block, dead_letters)
            yield beam.pvalue.TaggedOutput(INTEGER_ITEMS, has_integer_items(table))
            yield from rows_by_shard(table, self._shards)


class ParseCatalogue(beam.DoFn):
    """Block to a table, tagged outputs for everything else."""

    def __init__(self, reader: TableReader, catalogue: CatalogueTable):
        super().__init__()
        self._reader = reader
        self._catalogue = catalogue

    @override
    def process(self, element: Block) -> Iterator[Any]:
        for block in self._reader.parse(element):
            table, dead_letters = parse_catalogue(block, self._catalogue)
            yield from _account("catalogue_records", REJECTED_CATALOGUE, block, dead_letters)
            yield table_to_bytes(table)


class ParseProfiles(beam.DoFn):
    """Block to (shard of the users, table), tagged outputs for everything else."""

    def __init__(self, reader: TableReader | None, profiles: Profiles | None, shards: int):
        super().__init__()
        self._reader = reader
        self._profiles = profiles
        self._shards = shards

    @override
    def process(self, element: Block) -> Iterator[Any]:
        assert self._reader is not None and self._profiles is not None
        for block in self._reader.parse(element):
            table, dead_letters = parse_profiles(block, self._profiles)
            yield from _account("profile_records", REJECTED_PROFILES, block, dead_letters)
            yield from rows_by_shard(table, self._shards)


class CountSampleHours(beam.DoFn):
    """Shard to the number of its samples by hour."""

    def __init__(self, split: Split):
        super().__init__()
        self._split = split

    @override
    def process(self, element: Shard) -> Iterator[Counter[int]]:
        yield count_sample_hours(element.sequences, self._split)


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
        | "CountSampleHours" >> beam.ParDo(CountSampleHours(split))
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


CATALOGUE = "catalogue"
INTERACTIONS = "interactions"
SEEN = "seen"
PROFILES = "profiles"
ITEMS = "items"
USERS = "users"
PROFILE_VALUES = "profile_values"
"""Names of inputs and tags of outputs."""

_NAMES = "names"
_NAMES_SCHEMA = pa.schema({ITEM: pa.string(), _NAMES: pa.list_(pa.list_(pa.string()))})


class ReadSeenPrompts(beam.DoFn):
    """Name of an answer source to (shard, prompts about the shard's users)."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    @override
    def process(self, element: str) -> Iterator[Any]:
        knowledge, shards = self._plan.knowledge, self._plan.shards
        for batch in read_seen_prompts(element, knowledge.answers[element]):
            by_shard: dict[int, list[SeenPrompt]] = {}
            hashes = stable_hashes([seen.user for seen in batch], "shard")
            for seen, shard in zip(batch, (hashes % np.uint64(shards)).tolist(), strict=True):
                by_shard.setdefault(shard, []).append(seen)
            yield from by_shard.items()


class OrderShard(beam.DoFn):
    """Everything about the users of a shard to `Shard`, interactions in order."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    @override
    def process(
        self, element: tuple[int, dict[str, Iterable[Any]]], integer_items: bool
    ) -> Iterator[Any]:
        index, grouped = element
        plan = self._plan
        sequences, dead_letters = order_interactions(
            concatenate(grouped[INTERACTIONS], INTERACTION_SCHEMA),
            plan.interactions.names,
            integer_items,
            ordered_by(plan.data.interactions.columns),
        )
        rejected = {REJECTED_INTERACTIONS: by_reason(dead_letters)}
        yield beam.pvalue.TaggedOutput(STATISTICS, rejected)
        profiles = pa.table({USER: pa.array([], pa.string())})
        if plan.profiles is not None and plan.data.profiles is not None:
            collected = collect_profiles(
                map(table_from_bytes, grouped[PROFILES]), plan.data.profiles, plan.profiles.names
            )
            profiles = collected.table
            dead_letters = dead_letters + collected.dead_letters
            yield beam.pvalue.TaggedOutput(
                STATISTICS,
                {
                    "profile_users": profiles.num_rows,
                    "profile_unreadable_numbers": collected.unreadable_numbers,
                    REJECTED_PROFILES: by_reason(collected.dead_letters),
                },
            )
        if dead_letters:
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        seen = [prompt for batch in grouped[SEEN] for prompt in batch]
        yield Shard(index, plan.shards, sequences, seen, profiles)


class CountItems(beam.DoFn):
    """Shard to its items, with their positive samples where they are drawn by popularity.

    The table is an IPC stream, one column of numbers for each population of `ItemUniverse`.
    """

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    @override
    def process(self, element: Shard, cuts: TimeCuts | None) -> Iterator[bytes]:
        sequences = element.sequences
        if not drawn_by_popularity(self._plan.data):
            yield _universe_of(sequences.item_ids)
            return
        parts = split_interactions(sequences, self._plan.split, cuts).parts
        rows = np.flatnonzero((parts != HISTORY_ONLY) & (sequences.labels == 1))
        folds = user_folds(sequences.users)[sequences.user_of_row[rows]]
        cells = sequences.item_of_row[rows] * NUM_POPULATIONS
        cells += population_of_rows(folds, parts[rows])
        size = len(sequences.item_ids) * NUM_POPULATIONS
        counts = np.bincount(cells, minlength=size).reshape(-1, NUM_POPULATIONS)
        yield _universe_of(sequences.item_ids, counts)


class CatalogueItems(beam.DoFn):
    """Block of the catalogue to its items without any interaction, as an IPC stream."""

    @override
    def process(self, element: bytes) -> Iterator[bytes]:
        yield _universe_of(table_from_bytes(element)[ITEM_ID])


class JoinUniverse(beam.DoFn):
    """Items of all shards and of the catalogue to one table of distinct items."""

    @override
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[bytes]:
        tables = [table_from_bytes(data) for data in element[1]]
        table = pa.concat_tables(tables, promote_options="default")
        names = table.column_names[1:]
        added_up = table.group_by(ITEM).aggregate([(name, "sum") for name in names])
        columns = [added_up[ITEM], *(added_up[f"{name}_sum"].fill_null(0) for name in names)]
        joined = pa.table(columns, names=[ITEM, *names]).sort_by(ITEM)
        yield table_to_bytes(joined.combine_chunks())


class NameItems(beam.DoFn):
    """Blocks of the catalogue to what prompts may call each item, as an IPC stream."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    @override
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[bytes]:
        catalogue = self._plan.data.catalogue
        tables = map(table_from_bytes, element[1])
        items = collect_items(tables, catalogue, self._plan.catalogue.names)
        names = self._plan.prompts.wording.names(items.table, catalogue.attributes)
        columns = [list(names), list(names.values())]
        yield table_to_bytes(pa.table(columns, schema=_NAMES_SCHEMA))


class WriteShard(beam.DoFn):
    """Shard to TFRecord files."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    @override
    def process(
        self, element: Shard, cuts: TimeCuts | None, universe: bytes | None, names: bytes | None
    ) -> Iterator[Any]:
        plan = self._plan
        items = None
        if universe is not None:
            table = table_from_bytes(universe).combine_chunks()
            counts = [column.to_numpy() for column in table.columns[1:]]
            positives = np.stack(counts, axis=1) if counts else np.zeros((len(table), 0), np.int64)
            items = ItemUniverse(table[ITEM].combine_chunks(), positives)
        result = write_shard(
            element,
            plan.data,
            plan.split,
            plan.folder,
            cuts,
            items,
            plan.prompts,
            {} if names is None else _names_of(element.sequences.item_ids, names),
        )
        yield beam.pvalue.TaggedOutput(STATISTICS, result.statistics)
        yield beam.pvalue.TaggedOutput(USERS, result.users)
        yield beam.pvalue.TaggedOutput(PROFILE_VALUES, result.profile_values)
        yield element.index, table_to_bytes(result.items)


class WriteSummary(beam.DoFn):
    """Catalogue and statistics of all shards to item attributes and vocabularies."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    @override
    def process(self, element: tuple[int, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        grouped = element[1]
        statistics, dead_letters = write_summary(
            map(table_from_bytes, grouped[CATALOGUE]),
            dict(grouped[ITEMS]),
            grouped[USERS],
            grouped[PROFILE_VALUES],
            self._plan.data.catalogue,
            self._plan.catalogue.names,
            self._plan.folder,
        )
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield {**statistics, REJECTED_CATALOGUE: by_reason(dead_letters)}


def _universe_of(
    item_ids: Sequence[str] | pa.ChunkedArray, counts: np.ndarray | None = None
) -> bytes:
    """Table of items and their numbers, [items, populations], as an IPC stream."""
    columns = [] if counts is None else list(counts.T)
    names = [f"positives_{number}" for number in range(len(columns))]
    items = item_ids if isinstance(item_ids, pa.ChunkedArray) else pa.array(item_ids, pa.string())
    return table_to_bytes(pa.table([items, *columns], names=[ITEM, *names]))


def _names_of(item_ids: list[str], names: bytes) -> dict[str, list[tuple[str, ...]]]:
    """Item id -> what prompts may call it, of some items."""
    table = table_from_bytes(names)
    table = table.filter(pc.is_in(table[ITEM], pa.array(item_ids, pa.string())))
    return {
        item: [tuple(words) for words in item_names]
        for item, item_names in zip(table[ITEM].to_pylist(), table[_NAMES].to_pylist(), strict=True)
    }
