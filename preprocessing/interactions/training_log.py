"""Users, items and training interactions of the whole log, as numbers; the pipeline behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from preprocessing import storage
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.beam_sinks import (
    DEAD_LETTERS,
    GatherDeadLetters,
    gather_statistics,
    read_statistics,
    total,
)
from preprocessing.dead_letters import read_dead_letters
from preprocessing.interactions.filtering import FilteredLog, filter_log, read_filtered_log
from preprocessing.interactions.k_core import read_table, write_table
from preprocessing.interactions.reading import (
    INTERACTION_SCHEMA,
    ITEM,
    RATING,
    USER,
    concatenate,
    numbered_together,
)
from preprocessing.interactions.sequences import (
    TimeCuts,
    UserSequences,
    order_interactions,
    ordered_by,
    split_interactions,
)
from preprocessing.interactions.shard import LogPlan, Shard
from preprocessing.interactions.transforms import (
    as_singleton,
    find_time_cuts,
    in_every_shard,
)

TRAINING = "training"
_ID = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema({USER: _ID, ITEM: _ID, RATING: pa.float64(), TRAINING: pa.bool_()})


@dataclass(frozen=True)
class TrainingLog:
    """Training interactions; a user's rows stand together, in the user's own order.

    Attributes:
      users: [users] sorted ids of all users of the log.
      items: [items] sorted ids of all items of the log.
      user_of_row: [rows] int32 index into `users`, ascending.
      item_of_row: [rows] int32 index into `items`.
      ratings: [rows] float64.
    """

    users: list[str]
    items: list[str]
    user_of_row: np.ndarray
    item_of_row: np.ndarray
    ratings: np.ndarray


def marked_interactions(sequences: UserSequences, training: np.ndarray) -> pa.Table:
    """All interactions of some users, with the training interactions marked.

    Args:
      sequences: the interactions.
      training: [rows] bool, see `SplitRows`.
    """
    ids = {
        USER: (sequences.user_of_row, sequences.users),
        ITEM: (sequences.item_of_row, sequences.item_ids),
    }
    columns: dict[str, pa.Array] = {
        name: pa.DictionaryArray.from_arrays(
            pa.array(numbers, pa.int32()), pa.array(values, pa.string())
        )
        for name, (numbers, values) in ids.items()
    }
    columns |= {RATING: pa.array(sequences.ratings), TRAINING: pa.array(training)}
    return pa.table(columns, schema=_SCHEMA)


def collect_training_log(tables: Iterable[pa.Table]) -> TrainingLog:
    """Brings the shards together; 16 bytes for a training interaction, and the ids.

    Args:
      tables: results of `marked_interactions`, each user in one of them. The result is the same
        however users are divided.
    """
    ids: dict[str, list[pa.Array]] = {USER: [], ITEM: []}
    numbers: dict[str, list[np.ndarray]] = {USER: [], ITEM: []}
    ratings: list[np.ndarray] = [np.empty(0)]
    for table in tables:
        training = table[TRAINING].to_numpy()
        for name in ids:
            column = table[name].unify_dictionaries().combine_chunks()
            ids[name].append(column.dictionary)
            numbers[name].append(column.indices.to_numpy()[training])
        ratings.append(table[RATING].to_numpy()[training])
    users, user_of_row = numbered_together(ids[USER], numbers[USER])
    items, item_of_row = numbered_together(ids[ITEM], numbers[ITEM])
    order = np.argsort(user_of_row, kind="stable")
    return TrainingLog(
        users=users.to_pylist(),
        items=items.to_pylist(),
        user_of_row=user_of_row[order],
        item_of_row=item_of_row[order],
        ratings=np.concatenate(ratings)[order],
    )


_NO_PROFILES = pa.schema({USER: pa.string()}).empty_table()


@dataclass(frozen=True)
class TrainingLogResult:
    """What reading the log gave.

    Attributes:
      log: the training interactions.
      counts: `records_in` interactions were read; `records_out`, `filtered_out` and `dead_letters`
        add up to them.
      dead_letters: JSON lines file of rejected rows.
    """

    log: TrainingLog
    counts: dict[str, Any]
    dead_letters: str


def read_training_log(plan: LogPlan, beam_options: BeamOptions) -> TrainingLogResult:
    """Reads the log; the result is in the memory of this process.

    Args:
      plan: what to read. Its folder takes scratch files and the dead letters.
      beam_options: runner and options.
    """
    options = beam_options.for_input(plan.interactions.stored_bytes)
    filtered = None
    if not plan.data.filter.keeps_everything:
        filtered = filter_log(plan, storage.join(plan.folder, "filter"), options)
    letters = storage.join(plan.folder, "interactions.jsonl")
    counts = storage.join(plan.folder, "interactions.json")
    run_pipeline(
        lambda pipeline: build_training_log_pipeline(pipeline, plan, filtered, letters, counts),
        options,
    )
    statistics = read_statistics(counts) + (filtered.statistics if filtered else [])
    reasons = Counter(letter["reason"] for letter in read_dead_letters(letters))
    described: dict[str, Any] = {
        "records_in": total(statistics, "interactions"),
        "records_out": total(statistics, "ordered"),
        "filtered_out": total(statistics, "filtered_out"),
        "dead_letters": reasons.total(),
        "rejected_by_reason": dict(sorted(reasons.items())),
        "training_interactions": total(statistics, "training"),
    }
    accounted = ("records_out", "filtered_out", "dead_letters")
    if described["records_in"] != sum(described[name] for name in accounted):
        raise AssertionError(f"interactions were lost or counted twice: {described}")
    tables = (read_table(_marked_file(plan.folder, shard)) for shard in range(plan.shards))
    return TrainingLogResult(collect_training_log(tables), described, letters)


def _ordered_users(
    element: tuple[int, Iterable[bytes]], plan: LogPlan, integer_items: bool
) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
    """All rows of a shard to `Shard`, interactions in order."""
    shard, parts = element
    sequences, dead_letters = order_interactions(
        concatenate(parts, INTERACTION_SCHEMA),
        plan.interactions.names,
        integer_items,
        ordered_by(plan.data.interactions.columns),
    )
    if dead_letters:
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
    yield Shard(shard, plan.shards, sequences, (), _NO_PROFILES)


def _written_marked(shard: Shard, plan: LogPlan, cuts: TimeCuts | None) -> dict[str, int]:
    """Shard to a file of its interactions, training interactions marked; returns counts."""
    training = split_interactions(shard.sequences, plan.split, cuts).training
    path = _marked_file(plan.folder, shard.index)
    write_table(path, marked_interactions(shard.sequences, training))
    return {"ordered": len(training), "training": int(training.sum())}


def build_training_log_pipeline(
    pipeline: beam.Pipeline,
    plan: LogPlan,
    filtered: FilteredLog | None,
    dead_letters_path: str,
    statistics_path: str,
) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      plan: what to read.
      filtered: what `data.filter` left; None reads the log itself.
      dead_letters_path: JSON lines file for rejected rows.
      statistics_path: JSON file for counts "interactions", "ordered", "training".
    """
    log = read_filtered_log(pipeline, plan, filtered)
    ordered = (
        in_every_shard(pipeline, log.interactions, plan)
        | "ByShard" >> beam.GroupByKey()
        | "OrderUsers"
        >> beam.FlatMap(
            _ordered_users, plan, beam.pvalue.AsSingleton(log.integer_items)
        ).with_outputs(DEAD_LETTERS, main="shards")
    )
    cuts = find_time_cuts(ordered["shards"], plan.split)
    written = ordered["shards"] | "WriteMarked" >> beam.Map(
        _written_marked, plan, as_singleton(cuts)
    )
    (log.dead_letters, ordered[DEAD_LETTERS]) | "DeadLetters" >> GatherDeadLetters(
        dead_letters_path
    )
    (log.statistics, written) | "Statistics" >> gather_statistics(statistics_path)


def _marked_file(folder: str, shard: int) -> str:
    return storage.join(folder, f"marked-{shard:05d}.arrow")
