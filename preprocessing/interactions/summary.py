"""What is made from all shards together: item attributes and vocabularies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.raw_data import Catalogue
from preprocessing import storage
from preprocessing.dead_letters import DeadLetter
from preprocessing.interactions.catalogue import Items, attributes_table, collect_items
from preprocessing.interactions.item_statistics import add_up, fold_matrices, items_of
from preprocessing.records.coverage import IdCoverage
from preprocessing.records.item_attributes import ITEM_ID
from preprocessing.records.layout import ITEM_ATTRIBUTES_FILE, vocabulary_file
from preprocessing.records.vocabularies import order_by_count, write_vocabulary

USER_ID = "user_id"


def write_summary(
    catalogue_tables: Iterable[pa.Table],
    shard_items: Mapping[int, pa.Table],
    shard_users: Iterable[Mapping[str, int]],
    shard_profile_values: Iterable[Mapping[str, Mapping[str, int]]],
    catalogue: Catalogue,
    catalogue_files: Sequence[str],
    folder: str,
) -> tuple[dict[str, object], list[DeadLetter]]:
    """Writes item attributes and vocabularies.

    Args:
      catalogue_tables: parsed blocks of the catalogue.
      shard_items: shard number -> rating statistics of its items.
      shard_users: user -> number of training interactions, of each shard.
      shard_profile_values: profile feature -> value -> training users that have it, of each shard.
      catalogue: configuration of the catalogue.
      catalogue_files: its files by index (`TableReader.names`).
      folder: where the files belong, absolute path or URL.

    Returns:
      Counts, and dead letters of the catalogue.
    """
    items = collect_items(catalogue_tables, catalogue, catalogue_files)
    tables = [shard_items[shard] for shard in sorted(shard_items)]
    log_ids = _sorted_ids([items_of(table) for table in tables])
    item_ids = _sorted_ids([pa.chunked_array([log_ids], pa.string()), items.table[ITEM_ID]])
    sums, counts = fold_matrices(add_up(tables, item_ids))
    with storage.create_bytes(storage.join(folder, ITEM_ATTRIBUTES_FILE)) as file:
        pq.write_table(attributes_table(items, item_ids, catalogue, sums, counts), file)

    training_counts = dict(zip(item_ids, counts.sum(axis=1).tolist(), strict=True))
    vocabularies = {
        ITEM_ID: {item: count for item, count in training_counts.items() if count},
        USER_ID: {user: count for users in shard_users for user, count in users.items()},
        **_attribute_counts(items, catalogue),
        **_added_up(shard_profile_values),
    }
    for name, value_counts in vocabularies.items():
        write_vocabulary(storage.join(folder, vocabulary_file(name)), order_by_count(value_counts))
    coverage = IdCoverage.measure(
        "item",
        {item: training_counts[item] for item in log_ids},
        set(items.ids),
        "training_interactions",
    )
    statistics: dict[str, object] = {
        "items": len(item_ids),
        "catalogue_items": items.table.num_rows,
        "items_outside_catalogue": len(item_ids) - items.table.num_rows,
        "catalogue_coverage": asdict(coverage),
        "unreadable_numbers": items.unreadable_numbers,
        "vocabularies": {name: len(value_counts) for name, value_counts in vocabularies.items()},
    }
    return statistics, items.dead_letters


def _sorted_ids(columns: Sequence[pa.ChunkedArray]) -> list[str]:
    """Distinct ids of several columns, in text order."""
    chunks = [chunk for column in columns for chunk in column.chunks]
    distinct = pc.unique(pa.chunked_array(chunks, pa.string()))
    return distinct.take(pc.array_sort_indices(distinct)).to_pylist()


def _attribute_counts(items: Items, catalogue: Catalogue) -> dict[str, dict[str, int]]:
    counts = {}
    for name, attribute in catalogue.attributes.items():
        if attribute.kind == "categorical":
            values = pc.value_counts(pc.list_flatten(items.table[name]))
            counts[name] = {entry["values"]: entry["counts"] for entry in values.to_pylist()}
    return counts


def _added_up(shards: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Counts of values by feature, over all shards; only of values that a training user has."""
    sums: dict[str, Counter[str]] = {}
    for shard in shards:
        for name, counts in shard.items():
            sums.setdefault(name, Counter()).update(counts)
    return {
        name: {value: count for value, count in counts.items() if count}
        for name, counts in sums.items()
    }
