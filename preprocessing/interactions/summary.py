"""What is made from all shards together: item attributes and vocabularies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from configs.scenario import Catalogue
from preprocessing.dead_letters import DeadLetter
from preprocessing.interactions.catalogue import Items, attributes_table, collect_items
from preprocessing.interactions.item_statistics import add_up, fold_matrices, items_of
from preprocessing.records.item_attributes import ITEM_ID
from preprocessing.records.layout import ExamplesDirectory
from preprocessing.records.vocabularies import order_by_count, write_vocabulary

USER_ID = "user_id"


def write_summary(
    catalogue_tables: Iterable[pa.Table],
    shard_items: Mapping[int, pa.Table],
    shard_users: Iterable[Mapping[str, int]],
    catalogue: Catalogue,
    directory: ExamplesDirectory,
) -> tuple[dict[str, object], list[DeadLetter]]:
    """Writes item attributes and vocabularies.

    Args:
      catalogue_tables: parsed blocks of the catalogue.
      shard_items: shard number -> rating statistics of its items.
      shard_users: user -> number of training interactions, of each shard.
      catalogue: configuration of the catalogue.
      directory: where the files belong.

    Returns:
      Counts, and dead letters of the catalogue.
    """
    items = collect_items(catalogue_tables, catalogue)
    tables = [shard_items[shard] for shard in sorted(shard_items)]
    rated = {item for table in tables for item in items_of(table)}
    item_ids = sorted(items.rows.keys() | rated)
    sums, counts = fold_matrices(add_up(tables, item_ids))
    pq.write_table(
        attributes_table(items, item_ids, catalogue, sums, counts), directory.item_attributes
    )

    training_counts = dict(zip(item_ids, counts.sum(axis=1).tolist(), strict=True))
    vocabularies = {
        ITEM_ID: {item: count for item, count in training_counts.items() if count},
        USER_ID: {user: count for users in shard_users for user, count in users.items()},
        **_attribute_counts(items, catalogue),
    }
    for name, value_counts in vocabularies.items():
        write_vocabulary(directory.vocabulary(name), order_by_count(value_counts))
    statistics: dict[str, object] = {
        "items": len(item_ids),
        "catalogue_items": len(items.rows),
        "items_outside_catalogue": len(item_ids) - len(items.rows),
        "unreadable_numbers": items.unreadable_numbers,
        "vocabularies": {name: len(value_counts) for name, value_counts in vocabularies.items()},
    }
    return statistics, items.dead_letters


def _attribute_counts(items: Items, catalogue: Catalogue) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for name, attribute in catalogue.attributes.items():
        if attribute.kind == "categorical":
            counts[name] = Counter()
            for row in items.rows.values():
                counts[name].update(row[name])
    return counts
