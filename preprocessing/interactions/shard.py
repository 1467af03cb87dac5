"""One shard: all interactions of some users become TFRecord files and statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from configs.raw_data import Data, Split
from preprocessing import storage
from preprocessing.interactions.example_maker import ExampleColumns, ExampleMaker
from preprocessing.interactions.item_statistics import count_items
from preprocessing.interactions.leak_check import NOTHING_TO_LOOK_UP, PromptCheck, check_leaks
from preprocessing.interactions.profile_columns import ProfileColumns
from preprocessing.interactions.seen_prompts import SeenPrompt
from preprocessing.interactions.sequences import UserSequences
from preprocessing.interactions.shown_entries import Name
from preprocessing.interactions.splitting import (
    HISTORY_ONLY,
    TRAIN,
    TimeCuts,
    follows_later_part,
    split_interactions,
)
from preprocessing.interactions.unseen_items import ItemUniverse
from preprocessing.records.contract import PARTS
from preprocessing.records.layout import examples_shard
from preprocessing.records.tfrecord_file import write_records
from preprocessing.records.wire import encode_examples

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
      items: rating statistics (`item_statistics`).
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
