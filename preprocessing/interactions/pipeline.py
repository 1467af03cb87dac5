"""The Beam pipeline from interactions, catalogue and profiles to examples.

Elements are batches: blocks of lines, Arrow tables as bytes, whole shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.data import CatalogueTable, Profiles
from preprocessing import storage
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS, GatherDeadLetters, gather_statistics
from preprocessing.interactions.catalogue import (
    collect_items,
    collect_profiles,
    parse_catalogue,
    parse_profiles,
)
from preprocessing.interactions.filtering import FilteredLog, read_filtered_log
from preprocessing.interactions.leak_check import SeenPrompt, read_seen_prompts
from preprocessing.interactions.reading import (
    INTERACTION_SCHEMA,
    ITEM,
    REJECTED_CATALOGUE,
    REJECTED_INTERACTIONS,
    REJECTED_PROFILES,
    USER,
    by_reason,
    concatenate,
    table_from_bytes,
    table_to_bytes,
)
from preprocessing.interactions.samples import (
    NUM_POPULATIONS,
    ItemUniverse,
    drawn_by_popularity,
    needs_universe,
    population_of_rows,
    user_folds,
)
from preprocessing.interactions.sequences import (
    HISTORY_ONLY,
    TimeCuts,
    order_interactions,
    ordered_by,
    split_interactions,
)
from preprocessing.interactions.shard import (
    ExamplesPlan,
    Shard,
    of_enough_rows,
    write_shard,
    write_summary,
)
from preprocessing.interactions.transforms import (
    ShardedLog,
    account,
    as_singleton,
    find_time_cuts,
    in_every_shard,
    rows_by_shard,
)
from preprocessing.records.hashing import stable_hashes
from preprocessing.records.item_tables import ITEM_ID
from preprocessing.records.layout import DEAD_LETTERS_FILE
from preprocessing.tables.blocks import Block
from preprocessing.tables.reading_transforms import ReadTable
from preprocessing.tables.table_reader import TableReader

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


def build_pipeline(
    pipeline: beam.Pipeline,
    plan: ExamplesPlan,
    statistics_path: str,
    filtered: FilteredLog | None = None,
) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      plan: what to do.
      statistics_path: JSON file for the counts of all shards.
      filtered: what `data.filter` left; None reads the log itself.
    """
    log = read_filtered_log(pipeline, plan, filtered)
    catalogue = (
        pipeline
        | "ReadCatalogue" >> ReadTable(plan.catalogue)
        | "ParseCatalogue"
        >> beam.FlatMap(catalogue_rows, plan.catalogue, plan.data.catalogue).with_outputs(
            STATISTICS, DEAD_LETTERS, main="tables"
        )
    )
    profiles = _profiles(pipeline, plan)
    ordered = _ordered_shards(pipeline, plan, log, profiles)
    shards = ordered["shards"]
    cuts = find_time_cuts(shards, plan.split)
    universe = (
        _universe(shards, catalogue["tables"], cuts, plan) if needs_universe(plan.data) else None
    )
    names = _names(catalogue["tables"], plan) if plan.prompts.sources else None
    written = shards | "WriteShards" >> beam.FlatMap(
        _written_shard, plan, as_singleton(cuts), as_singleton(universe), as_singleton(names)
    ).with_outputs(STATISTICS, USERS, PROFILE_VALUES, main=ITEMS)
    summary = _summary(plan, catalogue["tables"], written)
    outputs = [catalogue, ordered, *([] if profiles is None else [profiles])]
    rejected = [output[DEAD_LETTERS] for output in (*outputs, summary)]
    (log.dead_letters, *rejected) | "DeadLetters" >> GatherDeadLetters(
        storage.join(plan.folder, DEAD_LETTERS_FILE)
    )
    counted = [output[STATISTICS] for output in (*outputs, written)]
    if cuts is not None:
        counted.append(cuts | "DescribeCuts" >> beam.Map(lambda cuts: {"time_cuts": list(cuts)}))
    (log.statistics, *counted, summary["counts"]) | "Statistics" >> gather_statistics(
        statistics_path
    )


def _profiles(pipeline: beam.Pipeline, plan: ExamplesPlan) -> beam.pvalue.DoOutputsTuple | None:
    """Attributes of users by shard, if there is a table of them."""
    if plan.profiles is None or plan.data.profiles is None:
        return None
    return (
        pipeline
        | "ReadProfiles" >> ReadTable(plan.profiles)
        | "ParseProfiles"
        >> beam.FlatMap(
            profiles_by_shard, plan.profiles, plan.data.profiles, plan.shards
        ).with_outputs(STATISTICS, DEAD_LETTERS, main="tables")
    )


def _ordered_shards(
    pipeline: beam.Pipeline,
    plan: ExamplesPlan,
    log: ShardedLog,
    profiles: beam.pvalue.DoOutputsTuple | None,
) -> beam.pvalue.DoOutputsTuple:
    """Brings together what is known about the users of each shard, interactions in order."""
    seen = (
        pipeline
        | "AnswerSources" >> beam.Create(sorted(plan.prompts.sources))
        | "ReadSeenPrompts" >> beam.FlatMap(_seen_by_shard, plan)
    )
    about_users = {INTERACTIONS: in_every_shard(pipeline, log.interactions, plan), SEEN: seen}
    if profiles is not None:
        about_users[PROFILES] = profiles["tables"]
    return (
        about_users
        | "ByShard" >> beam.CoGroupByKey()
        | "OrderShards"
        >> beam.FlatMap(
            _ordered_shard, plan, beam.pvalue.AsSingleton(log.integer_items)
        ).with_outputs(STATISTICS, DEAD_LETTERS, main="shards")
    )


def _universe(
    shards: beam.PCollection,
    catalogue: beam.PCollection,
    cuts: beam.PCollection | None,
    plan: ExamplesPlan,
) -> beam.PCollection:
    """All items that can be sampled, as an IPC stream.

    When items need more than one interaction, those of the catalogue that nobody used are out too.
    """
    items = (
        shards
        | "CountItems" >> beam.Map(_items_of_shard, plan, as_singleton(cuts))
        # A stage that waits for the cuts must not be one with the catalogue's stage, which the
        # flattening below would make of them: FnApiRunner then waits for ever.
        | "CountedItems" >> beam.Reshuffle()
    )
    if plan.data.filter.minimum_item_interactions == 1:
        unused = catalogue | "CatalogueItems" >> beam.Map(
            lambda table: _universe_of(table_from_bytes(table)[ITEM_ID])
        )
        items = (items, unused) | "AllItems" >> beam.Flatten()
    return (
        items
        | "KeyItems" >> beam.Map(lambda table: (0, table))
        | "ItemsTogether" >> beam.GroupByKey()
        | "JoinUniverse" >> beam.Map(_joined_universe)
    )


def _names(catalogue: beam.PCollection, plan: ExamplesPlan) -> beam.PCollection:
    """What prompts may call the items of the catalogue, as an IPC stream."""
    nothing = catalogue.pipeline | "NoItems" >> beam.Create([b""])
    return (
        (catalogue, nothing)
        | "CatalogueOrNothing" >> beam.Flatten()
        | "KeyCatalogue" >> beam.Map(lambda table: (0, table))
        | "CatalogueTogether" >> beam.GroupByKey()
        | "NameItems" >> beam.Map(_names_of_items, plan)
    )


def _summary(
    plan: ExamplesPlan, catalogue: beam.PCollection, written: beam.pvalue.DoOutputsTuple
) -> beam.pvalue.DoOutputsTuple:
    """Writes what is made from all shards together."""
    together = {
        CATALOGUE: catalogue,
        ITEMS: written[ITEMS],
        USERS: written[USERS],
        PROFILE_VALUES: written[PROFILE_VALUES],
    }
    return (
        {
            name: values | f"Key {name}" >> beam.Map(lambda value: (0, value))
            for name, values in together.items()
        }
        | "Together" >> beam.CoGroupByKey()
        | "WriteSummary"
        >> beam.FlatMap(_written_summary, plan).with_outputs(DEAD_LETTERS, main="counts")
    )


def catalogue_rows(element: Block, reader: TableReader, catalogue: CatalogueTable) -> Iterator[Any]:
    """Block of the catalogue to a table, tagged outputs for everything else."""
    for block in reader.parse(element):
        table, dead_letters = parse_catalogue(block, catalogue)
        yield from account("catalogue_records", REJECTED_CATALOGUE, block, dead_letters)
        yield table_to_bytes(table)


def profiles_by_shard(
    element: Block, reader: TableReader, profiles: Profiles, shards: int
) -> Iterator[Any]:
    """Block of the profiles to (shard of the users, table), tagged outputs for the rest."""
    for block in reader.parse(element):
        table, dead_letters = parse_profiles(block, profiles)
        yield from account("profile_records", REJECTED_PROFILES, block, dead_letters)
        yield from rows_by_shard(table, shards)


def _seen_by_shard(source: str, plan: ExamplesPlan) -> Iterator[Any]:
    """Name of an answer source to (shard, prompts about the shard's users)."""
    shards = plan.shards
    for batch in read_seen_prompts(source, plan.knowledge.answers[source]):
        by_shard: dict[int, list[SeenPrompt]] = {}
        hashes = stable_hashes([seen.user for seen in batch], "shard")
        for seen, shard in zip(batch, (hashes % np.uint64(shards)).tolist(), strict=True):
            by_shard.setdefault(shard, []).append(seen)
        yield from by_shard.items()


def _ordered_shard(
    element: tuple[int, dict[str, Iterable[Any]]], plan: ExamplesPlan, integer_items: bool
) -> Iterator[Any]:
    """Everything about the users of a shard to `Shard`, interactions in order."""
    index, grouped = element
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


def _items_of_shard(shard: Shard, plan: ExamplesPlan, cuts: TimeCuts | None) -> bytes:
    """Items of a shard, with their positive samples where they are drawn by popularity.

    The table is an IPC stream, one column of numbers for each population of `ItemUniverse`.
    """
    sequences = shard.sequences
    if not drawn_by_popularity(plan.data):
        return _universe_of(sequences.item_ids)
    parts = split_interactions(sequences, plan.split, cuts).parts
    rows = np.flatnonzero((parts != HISTORY_ONLY) & (sequences.labels == 1))
    folds = user_folds(sequences.users)[sequences.user_of_row[rows]]
    cells = sequences.item_of_row[rows] * NUM_POPULATIONS
    cells += population_of_rows(folds, parts[rows])
    size = len(sequences.item_ids) * NUM_POPULATIONS
    counts = np.bincount(cells, minlength=size).reshape(-1, NUM_POPULATIONS)
    return _universe_of(sequences.item_ids, counts)


def _joined_universe(element: tuple[int, Iterable[bytes]]) -> bytes:
    """Items of all shards and of the catalogue to one table of distinct items."""
    joined = pa.table({ITEM: pa.array([], pa.string())})

    def enough() -> int:
        return len(joined)

    for some in of_enough_rows(map(table_from_bytes, element[1]), enough):
        table = pa.concat_tables([joined, *some], promote_options="default")
        names = table.column_names[1:]
        added_up = table.group_by(ITEM).aggregate([(name, "sum") for name in names])
        columns = [added_up[ITEM], *(added_up[f"{name}_sum"].fill_null(0) for name in names)]
        joined = pa.table(columns, names=[ITEM, *names])
    return table_to_bytes(joined.sort_by(ITEM).combine_chunks())


def _names_of_items(element: tuple[int, Iterable[bytes]], plan: ExamplesPlan) -> bytes:
    """Blocks of the catalogue to what prompts may call each item, as an IPC stream."""
    catalogue = plan.data.catalogue
    tables = map(table_from_bytes, filter(None, element[1]))
    items = collect_items(tables, catalogue, plan.catalogue.names)
    names = plan.prompts.wording.names(items.table, catalogue.attributes)
    columns = [list(names), list(names.values())]
    return table_to_bytes(pa.table(columns, schema=_NAMES_SCHEMA))


def _written_shard(
    shard: Shard,
    plan: ExamplesPlan,
    cuts: TimeCuts | None,
    universe: bytes | None,
    names: bytes | None,
) -> Iterator[Any]:
    """Shard to TFRecord files; yields its item statistics, tagged outputs for everything else."""
    items = None
    if universe is not None:
        table = table_from_bytes(universe).combine_chunks()
        counts = [column.to_numpy() for column in table.columns[1:]]
        positives = np.stack(counts, axis=1) if counts else np.zeros((len(table), 0), np.int64)
        items = ItemUniverse(table[ITEM].combine_chunks(), positives)
    result = write_shard(
        shard,
        plan.data,
        plan.split,
        plan.folder,
        cuts,
        items,
        plan.prompts,
        {} if names is None else _names_of(shard.sequences.item_ids, names),
    )
    yield beam.pvalue.TaggedOutput(STATISTICS, result.statistics)
    yield beam.pvalue.TaggedOutput(USERS, result.users)
    yield beam.pvalue.TaggedOutput(PROFILE_VALUES, result.profile_values)
    yield shard.index, table_to_bytes(result.items)


def _written_summary(
    element: tuple[int, dict[str, Iterable[Any]]], plan: ExamplesPlan
) -> Iterator[Any]:
    """Catalogue and statistics of all shards to item attributes and vocabularies."""
    grouped = element[1]
    statistics, dead_letters = write_summary(
        map(table_from_bytes, grouped[CATALOGUE]),
        dict(grouped[ITEMS]),
        grouped[USERS],
        grouped[PROFILE_VALUES],
        plan.data.catalogue,
        plan.catalogue.names,
        plan.folder,
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
