"""One shard: all interactions of some users become TFRecord files and statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from configs.scenario import Data, Split
from preprocessing.dead_letters import DeadLetter
from preprocessing.interactions.item_statistics import count_items
from preprocessing.interactions.leak_check import check_leaks
from preprocessing.interactions.samples import SampleColumns
from preprocessing.interactions.seen_counts import SeenCount
from preprocessing.interactions.sequences import order_interactions
from preprocessing.interactions.splitting import HISTORY_ONLY, TRAIN, split_interactions
from preprocessing.records.contract import PARTS
from preprocessing.records.layout import ExamplesDirectory
from preprocessing.records.tfrecord_file import write_records
from preprocessing.records.wire import encode_examples

_ROWS_PER_CHUNK = 4096


@dataclass(frozen=True)
class ShardResult:
    """What a shard leaves behind beside its files.

    Attributes:
      statistics: counts, see `write_shard`.
      dead_letters: repeated interactions.
      items: rating statistics (`item_statistics`).
      users: user -> number of training interactions.
    """

    statistics: dict[str, object]
    dead_letters: list[DeadLetter]
    items: pa.Table
    users: dict[str, int]


def write_shard(
    table: pa.Table,
    seen: Collection[SeenCount],
    integer_items: bool,
    data: Data,
    split: Split,
    directory: ExamplesDirectory,
    index: int,
    count: int,
) -> ShardResult:
    """Writes the examples of one shard.

    Args:
      table: all interactions of the shard's users, in any order.
      seen: what the prompts of all accepted answers about these users showed.
      integer_items: True when all item ids of the whole file are integers.
      data: configuration of the data.
      split: configuration of the split.
      directory: where the files belong.
      index: number of the shard.
      count: number of shards.
    """
    sequences, dead_letters = order_interactions(table, data.interactions.path, integer_items)
    rows = split_interactions(sequences, split)
    leaks = check_leaks(sequences, rows, seen)
    columns = SampleColumns(sequences, data.positive_rating, data.history_length)
    samples = {}
    for number, part in enumerate(PARTS):
        selected = np.flatnonzero(rows.parts == number)
        if number == TRAIN:
            generator = np.random.default_rng([split.seed, index])
            selected = generator.permutation(selected)
        samples[part] = write_records(
            directory.shard(part, index, count), _encode(columns, selected)
        )
    training_users = Counter(sequences.user_of_row[rows.training].tolist())
    statistics = {
        "shard": index,
        "samples": samples,
        "history_only": int((rows.parts == HISTORY_ONLY).sum()),
        "users": len(sequences.users),
        "training_interactions": int(rows.training.sum()),
        "leaks": asdict(leaks),
    }
    users = {sequences.users[user]: total for user, total in training_users.items()}
    return ShardResult(statistics, dead_letters, count_items(sequences, rows), users)


def _encode(columns: SampleColumns, rows: np.ndarray) -> Iterator[bytes]:
    for start in range(0, len(rows), _ROWS_PER_CHUNK):
        yield from encode_examples(columns.of_rows(rows[start : start + _ROWS_PER_CHUNK]))
