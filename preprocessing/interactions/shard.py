"""One shard: interactions of some users become TFRecord files, statistics and a schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from configs.data import CatalogueTable, Data, Split
from configs.knowledge import Knowledge
from preprocessing import storage
from preprocessing.dead_letters import DeadLetter
from preprocessing.interactions.catalogue import (
    DistinctRows,
    ProfileColumns,
    attributes_table,
    collect_items,
)
from preprocessing.interactions.leak_check import (
    NOTHING_TO_LOOK_UP,
    PromptCheck,
    SeenPrompt,
    check_leaks,
)
from preprocessing.interactions.reading import USER, sorted_ids, table_from_bytes
from preprocessing.interactions.samples import (
    ExampleColumns,
    ExampleMaker,
    ItemUniverse,
    user_folds,
)
from preprocessing.interactions.sequences import (
    HISTORY_ONLY,
    TRAIN,
    SplitRows,
    TimeCuts,
    UserSequences,
    follows_later_part,
    split_interactions,
)
from preprocessing.interactions.shown_entries import Name
from preprocessing.records import contract
from preprocessing.records.contract import PARTS, USER_FOLDS, Feature, FeatureType
from preprocessing.records.coverage import IdCoverage
from preprocessing.records.item_tables import ITEM_ID, order_by_count, write_vocabulary
from preprocessing.records.layout import ITEM_ATTRIBUTES_FILE, examples_shard, vocabulary_file
from preprocessing.records.tfrecord_file import write_records
from preprocessing.records.wire import encode_examples
from preprocessing.tables.table_reader import TableReader

_FEWEST_SHARDS = 2


@dataclass(frozen=True)
class LogPlan:
    """What it takes to read the log and to split it; it travels to all workers.

    Attributes:
      data: configuration of the data.
      split: configuration of the split.
      interactions: reads the log.
      shards: number of pieces the users are divided into.
      folder: where everything is written, an absolute path or URL that all workers see.
    """

    data: Data
    split: Split
    interactions: TableReader
    shards: int
    folder: str


@dataclass(frozen=True)
class ExamplesPlan(LogPlan):
    """Everything that the pipelines of the step `examples` need to know.

    Every piece of the users becomes one TFRecord file per part.

    Attributes:
      knowledge: where the answers are whose prompts are looked up.
      prompts: how to look up what they show.
      catalogue: reads the catalogue.
      profiles: reads the profiles, if there are any.
    """

    knowledge: Knowledge
    prompts: PromptCheck
    catalogue: TableReader
    profiles: TableReader | None


def shards_of_log(interactions: TableReader, data: Data) -> int:
    """Into how many pieces users are divided."""
    shard_bytes = data.shard_megabytes << 20
    return max(_FEWEST_SHARDS, -(-interactions.stored_bytes // shard_bytes))


_TYPES = {
    FeatureType.BYTES: schema_pb2.BYTES,
    FeatureType.FLOAT: schema_pb2.FLOAT,
    FeatureType.INT64: schema_pb2.INT,
}


def examples_schema(features: Sequence[Feature], data: Data) -> schema_pb2.Schema:
    """Schema of examples.

    Args:
      features: what the examples hold.
      data: says how long histories and lists of candidates are, and what attributes are.
    """
    schema = schema_pb2.Schema()
    for feature in features:
        described = schema.feature.add(name=feature.name, type=_TYPES[feature.type])
        described.annotation.comment.append(feature.description)
        if feature.is_list:
            described.value_count.min = 0
            most = _most_values(feature.name, data)
            if most is not None:
                described.value_count.max = most
        else:
            described.presence.min_fraction = 1.0
            described.presence.min_count = 1
            described.shape.dim.add(size=1)
    return schema


def write_schema(path: Path, features: Sequence[Feature], data: Data) -> None:
    """Writes the schema in text format; arguments as for `examples_schema`."""
    text = text_format.MessageToString(examples_schema(features, data))
    path.write_text(text, encoding="utf-8")


def _most_values(name: str, data: Data) -> int | None:
    """The most values of a list; None if it is not bounded."""
    if name in (contract.HISTORY_ITEM_ID, contract.HISTORY_RATING):
        return data.history_length
    if not name.startswith(contract.PROFILE_PREFIX):
        return data.rerank.length
    attributes = data.profiles.attributes if data.profiles else {}
    attribute = attributes[name.removeprefix(contract.PROFILE_PREFIX)]
    return 1 if attribute.kind == "numeric" else None


_ITEM = "item"
_SUMS = "sums"
_COUNTS = "counts"
_SCHEMA = pa.schema(
    {
        _ITEM: pa.string(),
        _SUMS: pa.list_(pa.float64(), USER_FOLDS),
        _COUNTS: pa.list_(pa.int64(), USER_FOLDS),
    }
)


def count_items(sequences: UserSequences, split: SplitRows) -> pa.Table:
    """Rating sum and count per item and fold; items without training interactions have zeros."""
    items = len(sequences.item_ids)
    folds = user_folds(sequences.users)[sequences.user_of_row]
    cells = (sequences.item_of_row * USER_FOLDS + folds)[split.training]
    ratings = sequences.ratings[split.training]
    sums = np.bincount(cells, weights=ratings, minlength=items * USER_FOLDS)
    counts = np.bincount(cells, minlength=items * USER_FOLDS)
    return statistics_table(pa.array(sequences.item_ids, pa.string()), sums, counts)


def add_up(tables: Iterable[pa.Table], item_ids: list[str]) -> pa.Table:
    """Adds up statistics of several shards.

    Args:
      tables: results of `count_items`, in a fixed order, so that sums are the same in every run.
      item_ids: rows of the result; holds every item of the tables.
    """
    rows = pa.array(item_ids, pa.string())
    sums = np.zeros((len(item_ids), USER_FOLDS))
    counts = np.zeros((len(item_ids), USER_FOLDS), np.int64)
    for some in of_enough_rows(tables, lambda: len(item_ids)):
        chunks = [chunk for table in some for chunk in table[_ITEM].chunks]
        ids = pa.chunked_array(chunks, pa.string())
        index = pc.index_in(ids, value_set=rows).to_numpy()
        for table in some:
            own, index = index[: len(table)], index[len(table) :]
            table_sums, table_counts = fold_matrices(table)
            sums[own] += table_sums
            counts[own] += table_counts
    return statistics_table(rows, sums.ravel(), counts.ravel())


def of_enough_rows(
    tables: Iterable[pa.Table], enough: Callable[[], int]
) -> Iterator[list[pa.Table]]:
    """Tables together that have so many rows: looking up their ids once costs no more than they do.

    With every table on its own, the work would grow with the shards times the items.
    """
    some: list[pa.Table] = []
    for table in tables:
        some.append(table)
        if sum(map(len, some)) >= enough():
            yield some
            some = []
    if some:
        yield some


def fold_matrices(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Rating sums and counts of a statistics table, each [items, folds]."""
    sums = table[_SUMS].combine_chunks().flatten().to_numpy().reshape(-1, USER_FOLDS)
    counts = table[_COUNTS].combine_chunks().flatten().to_numpy().reshape(-1, USER_FOLDS)
    return sums, counts


def distinct_items(tables: Iterable[pa.Table]) -> pa.Array:
    """Item ids of statistics tables, each once."""
    distinct = pa.array([], pa.string())

    def enough() -> int:
        return len(distinct)

    for some in of_enough_rows(tables, enough):
        chunks = [chunk for table in some for chunk in table[_ITEM].chunks]
        distinct = pc.unique(pa.chunked_array([distinct, *chunks]))
    return distinct


def statistics_table(items: pa.Array, sums: np.ndarray, counts: np.ndarray) -> pa.Table:
    """Table from flat arrays of items x folds numbers."""
    columns = [
        items,
        pa.FixedSizeListArray.from_arrays(pa.array(sums, pa.float64()), USER_FOLDS),
        pa.FixedSizeListArray.from_arrays(pa.array(counts, pa.int64()), USER_FOLDS),
    ]
    return pa.table(columns, schema=_SCHEMA)


_ROWS_PER_CHUNK = 4096


@dataclass(frozen=True)
class Shard:
    """What is known about some users.

    Attributes:
      index: number of the shard.
      count: number of shards.
      sequences: all interactions of the users.
      seen: the prompts of all accepted answers about them.
      profiles: their attributes, see `ProfileColumns`.
    """

    index: int
    count: int
    sequences: UserSequences
    seen: Collection[SeenPrompt]
    profiles: pa.Table


@dataclass(frozen=True)
class ShardResult:
    """What a shard leaves behind beside its files.

    Attributes:
      statistics: counts, see `write_shard`.
      items: rating sums and counts (`count_items`).
      users: user -> number of training interactions, for those who have any.
      profile_values: profile feature -> value -> how many of these users have it.
    """

    statistics: dict[str, object]
    items: pa.Table
    users: dict[str, int]
    profile_values: dict[str, Counter[str]]


def write_shard(
    shard: Shard,
    data: Data,
    split: Split,
    folder: str,
    cuts: TimeCuts | None = None,
    universe: ItemUniverse | None = None,
    prompts: PromptCheck = NOTHING_TO_LOOK_UP,
    names: Mapping[str, Sequence[Name]] = MappingProxyType({}),
) -> ShardResult:
    """Writes the examples of one shard; training examples are shuffled.

    Args:
      shard: the users.
      data: configuration of the data.
      split: configuration of the split.
      folder: where the files belong, absolute path or URL.
      cuts: split.by=global_time: where the parts end.
      universe: what sampled items are drawn from; needed by `needs_universe`.
      prompts: how to look up what prompts show.
      names: item id -> what prompts may call it.
    """
    sequences = shard.sequences
    rows = split_interactions(sequences, split, cuts)
    profiles = ProfileColumns(
        shard.profiles, sequences.users, data.profiles.attributes if data.profiles else {}
    )
    maker = ExampleMaker(sequences, rows.parts, profiles, data, universe)
    examples: dict[str, dict[str, int]] = {}
    for kind in data.examples:
        examples[kind] = {}
        for number, part in enumerate(PARTS):
            columns = maker.make(kind, number)
            order = np.arange(len(columns))
            if number == TRAIN:
                order = np.random.default_rng([split.seed, shard.index]).permutation(order)
            name = examples_shard(kind, part, shard.index, shard.count)
            examples[kind][part] = write_records(
                storage.join(folder, name), _encode(columns, order)
            )
    training_users = np.bincount(
        sequences.user_of_row[rows.training], minlength=len(sequences.users)
    )
    trained = np.flatnonzero(training_users)
    statistics = {
        "shard": shard.index,
        "samples": _by_part(rows.parts),
        "positives": _by_part(rows.parts[sequences.labels == 1]),
        "examples": examples,
        "missing_negatives": maker.missing_negatives,
        "missing_candidates": maker.missing_candidates,
        "history_only": int((rows.parts == HISTORY_ONLY).sum()),
        "given_part_history_only": _by_part(sequences.given_parts[rows.parts == HISTORY_ONLY]),
        "later_part_in_history": _by_part(rows.parts[follows_later_part(sequences, rows)]),
        "users": len(sequences.users),
        "training_interactions": int(rows.training.sum()),
        "leaks": asdict(check_leaks(sequences, rows, shard.seen, prompts, names)),
    }
    if data.profiles is not None:
        coverage = IdCoverage.measure(
            "user",
            dict(zip(sequences.users, training_users.tolist(), strict=True)),
            set(shard.profiles[USER].to_pylist()),
            "training_interactions",
        )
        statistics["profiles_coverage"] = asdict(coverage)
    return ShardResult(
        statistics=statistics,
        items=count_items(sequences, rows),
        users={sequences.users[user]: int(training_users[user]) for user in trained},
        profile_values=profiles.count_values(trained),
    )


def _by_part(parts: np.ndarray) -> dict[str, int]:
    return {part: int((parts == number).sum()) for number, part in enumerate(PARTS)}


def _encode(columns: ExampleColumns, order: np.ndarray) -> Iterator[bytes]:
    for start in range(0, len(order), _ROWS_PER_CHUNK):
        yield from encode_examples(columns.of(order[start : start + _ROWS_PER_CHUNK]))


USER_ID = "user_id"


def write_summary(
    catalogue_tables: Iterable[pa.Table],
    shard_items: Mapping[int, bytes],
    shard_users: Iterable[Mapping[str, int]],
    shard_profile_values: Iterable[Mapping[str, Mapping[str, int]]],
    catalogue: CatalogueTable,
    catalogue_files: Sequence[str],
    folder: str,
) -> tuple[dict[str, object], list[DeadLetter]]:
    """Writes item attributes and vocabularies.

    Args:
      catalogue_tables: parsed blocks of the catalogue.
      shard_items: shard number -> rating statistics of its items, as an IPC stream: memory holds
        a few of the tables at a time.
      shard_users: user -> number of training interactions, of each shard.
      shard_profile_values: profile feature -> value -> training users that have it, of each shard.
      catalogue: configuration of the catalogue.
      catalogue_files: its files by index (`TableReader.names`).
      folder: where the files belong, absolute path or URL.

    Returns:
      Counts, and dead letters of the catalogue.
    """
    items = collect_items(catalogue_tables, catalogue, catalogue_files)

    def tables() -> Iterator[pa.Table]:
        return (table_from_bytes(shard_items[shard]) for shard in sorted(shard_items))

    log_ids = distinct_items(tables())
    catalogue_ids = items.table[ITEM_ID].combine_chunks()
    item_ids = sorted_ids(pa.chunked_array([log_ids, catalogue_ids], pa.string())).to_pylist()
    sums, counts = fold_matrices(add_up(tables(), item_ids))
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
        {item: training_counts[item] for item in log_ids.to_pylist()},
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


def _attribute_counts(items: DistinctRows, catalogue: CatalogueTable) -> dict[str, dict[str, int]]:
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
