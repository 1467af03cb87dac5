"""The Beam pipeline from interactions, catalogue and profiles to examples.

Elements are batches: blocks of lines, Arrow tables as bytes, whole shards.
"""

from __future__ import annotations

import apache_beam as beam

from preprocessing import storage
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS, GatherDeadLetters, gather_statistics
from preprocessing.interactions.filtering import FilteredLog, read_filtered_log
from preprocessing.interactions.samples import needs_universe
from preprocessing.interactions.shard import ExamplesPlan
from preprocessing.interactions.transforms import (
    CATALOGUE,
    INTERACTIONS,
    ITEMS,
    PROFILE_VALUES,
    PROFILES,
    SEEN,
    USERS,
    CatalogueItems,
    CountItems,
    JoinUniverse,
    NameItems,
    OrderShard,
    ParseCatalogue,
    ParseProfiles,
    ReadSeenPrompts,
    ShardedLog,
    WriteShard,
    WriteSummary,
    as_singleton,
    find_time_cuts,
    in_every_shard,
    read_log,
)
from preprocessing.records.layout import DEAD_LETTERS_FILE
from preprocessing.tables.reading_transforms import ReadTable


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
    log = (
        read_log(pipeline, plan)
        if filtered is None
        else read_filtered_log(pipeline, plan, filtered.files, filtered.integer_items)
    )
    catalogue = (
        pipeline
        | "ReadCatalogue" >> ReadTable(plan.catalogue)
        | "ParseCatalogue"
        >> beam.ParDo(ParseCatalogue(plan.catalogue, plan.data.catalogue)).with_outputs(
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
    written = shards | "WriteShards" >> beam.ParDo(
        WriteShard(plan), as_singleton(cuts), as_singleton(universe), as_singleton(names)
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
        >> beam.ParDo(ParseProfiles(plan.profiles, plan.data.profiles, plan.shards)).with_outputs(
            STATISTICS, DEAD_LETTERS, main="tables"
        )
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
        | "ReadSeenPrompts" >> beam.ParDo(ReadSeenPrompts(plan))
    )
    about_users = {INTERACTIONS: in_every_shard(pipeline, log.interactions, plan), SEEN: seen}
    if profiles is not None:
        about_users[PROFILES] = profiles["tables"]
    return (
        about_users
        | "ByShard" >> beam.CoGroupByKey()
        | "OrderShards"
        >> beam.ParDo(OrderShard(plan), beam.pvalue.AsSingleton(log.integer_items)).with_outputs(
            STATISTICS, DEAD_LETTERS, main="shards"
        )
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
        | "CountItems" >> beam.ParDo(CountItems(plan), as_singleton(cuts))
        # A stage that waits for the cuts must not be one with the catalogue's stage, which the
        # flattening below would make of them: FnApiRunner then waits for ever.
        | "CountedItems" >> beam.Reshuffle()
    )
    if plan.data.filter.minimum_item_interactions == 1:
        unused = catalogue | "CatalogueItems" >> beam.ParDo(CatalogueItems())
        items = (items, unused) | "AllItems" >> beam.Flatten()
    return (
        items
        | "KeyItems" >> beam.Map(lambda table: (0, table))
        | "ItemsTogether" >> beam.GroupByKey()
        | "JoinUniverse" >> beam.ParDo(JoinUniverse())
    )


def _names(catalogue: beam.PCollection, plan: ExamplesPlan) -> beam.PCollection:
    """What prompts may call the items of the catalogue, as an IPC stream."""
    return (
        catalogue
        | "KeyCatalogue" >> beam.Map(lambda table: (0, table))
        | "CatalogueTogether" >> beam.GroupByKey()
        | "NameItems" >> beam.ParDo(NameItems(plan))
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
        | "WriteSummary" >> beam.ParDo(WriteSummary(plan)).with_outputs(DEAD_LETTERS, main="counts")
    )
