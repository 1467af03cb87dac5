"""Beam transforms that put the users of a shard in order, count them and write their examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.arrow_bytes import concatenate, table_from_bytes, table_to_bytes
from preprocessing.gathering import DEAD_LETTERS, STATISTICS
from preprocessing.hashing import stable_hashes
from preprocessing.interactions.catalogue import collect_items
from preprocessing.interactions.plan import ExamplesPlan
from preprocessing.interactions.profiles import collect_profiles
from preprocessing.interactions.reading import INTERACTION_SCHEMA, ITEM, USER
from preprocessing.interactions.rejections import (
    REJECTED_CATALOGUE,
    REJECTED_INTERACTIONS,
    REJECTED_PROFILES,
    by_reason,
)
from preprocessing.interactions.seen_prompts import SeenPrompt, read_seen_prompts
from preprocessing.interactions.sequences import order_interactions, ordered_by
from preprocessing.interactions.shard import Shard, write_shard
from preprocessing.interactions.splitting import TimeCuts, split_interactions
from preprocessing.interactions.summary import write_summary
from preprocessing.interactions.unseen_items import ItemUniverse
from preprocessing.records.item_attributes import ITEM_ID

CATALOGUE = "catalogue"
INTERACTIONS = "interactions"
SEEN = "seen"
PROFILES = "profiles"
ITEMS = "items"
USERS = "users"
PROFILE_VALUES = "profile_values"
"""Names of inputs and tags of outputs."""

_COUNT = "count"
_NAMES = "names"
_NAMES_SCHEMA = pa.schema({ITEM: pa.string(), _NAMES: pa.list_(pa.list_(pa.string()))})
_UNIVERSE_SCHEMA = pa.schema({ITEM: pa.string(), _COUNT: pa.int64()})


class ReadSeenPrompts(beam.DoFn):
    """Name of an answer source to (shard, prompts about the shard's users)."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: str) -> Iterator[Any]:
        """See `beam.DoFn`."""
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

    def process(
        self, element: tuple[int, dict[str, Iterable[Any]]], integer_items: bool
    ) -> Iterator[Any]:
        """See `beam.DoFn`."""
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
    """Shard to its items with their training interactions, as an IPC stream."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: Shard, cuts: TimeCuts | None) -> Iterator[bytes]:
        """See `beam.DoFn`."""
        sequences = element.sequences
        training = split_interactions(sequences, self._plan.split, cuts).training
        counts = np.bincount(sequences.item_of_row[training], minlength=len(sequences.item_ids))
        yield table_to_bytes(pa.table([sequences.item_ids, counts], schema=_UNIVERSE_SCHEMA))


class CatalogueItems(beam.DoFn):
    """Block of the catalogue to its items without any interaction, as an IPC stream."""

    def process(self, element: bytes) -> Iterator[bytes]:
        """See `beam.DoFn`."""
        ids = table_from_bytes(element)[ITEM_ID]
        counts = np.zeros(len(ids), dtype=np.int64)
        yield table_to_bytes(pa.table([ids, counts], schema=_UNIVERSE_SCHEMA))


class JoinUniverse(beam.DoFn):
    """Items of all shards and of the catalogue to one table of distinct items."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[bytes]:
        """See `beam.DoFn`."""
        table = concatenate(element[1], _UNIVERSE_SCHEMA)
        added_up = table.group_by(ITEM).aggregate([(_COUNT, "sum")])
        columns = [added_up[ITEM], added_up[f"{_COUNT}_sum"]]
        joined = pa.table(columns, schema=_UNIVERSE_SCHEMA).sort_by(ITEM)
        yield table_to_bytes(joined.combine_chunks())


class NameItems(beam.DoFn):
    """Blocks of the catalogue to what prompts may call each item, as an IPC stream."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[bytes]:
        """See `beam.DoFn`."""
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

    def process(
        self, element: Shard, cuts: TimeCuts | None, universe: bytes | None, names: bytes | None
    ) -> Iterator[Any]:
        """See `beam.DoFn`."""
        plan = self._plan
        items = None
        if universe is not None:
            table = table_from_bytes(universe).combine_chunks()
            items = ItemUniverse(table[ITEM].combine_chunks(), table[_COUNT].to_numpy())
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

    def process(self, element: tuple[int, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        """See `beam.DoFn`."""
        grouped = element[1]
        statistics, dead_letters = write_summary(
            map(table_from_bytes, grouped[CATALOGUE]),
            {shard: table_from_bytes(data) for shard, data in grouped[ITEMS]},
            grouped[USERS],
            grouped[PROFILE_VALUES],
            self._plan.data.catalogue,
            self._plan.catalogue.names,
            self._plan.folder,
        )
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield {**statistics, REJECTED_CATALOGUE: by_reason(dead_letters)}


def _names_of(item_ids: list[str], names: bytes) -> dict[str, list[tuple[str, ...]]]:
    """Item id -> what prompts may call it, of some items."""
    table = table_from_bytes(names)
    table = table.filter(pc.is_in(table[ITEM], pa.array(item_ids, pa.string())))
    return {
        item: [tuple(words) for words in found]
        for item, found in zip(table[ITEM].to_pylist(), table[_NAMES].to_pylist(), strict=True)
    }
