"""What the step `examples` does, as a plain single-process pandas program: the measure for Beam.

It uses this project's column-wise `tf.train.Example` encoder too; a loop over protobuf messages
would make the comparison easy to win. It checks no leak rule and names no bad lines.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from configs.data import Data, Split
from preprocessing.records import contract
from preprocessing.records.hashing import stable_hashes
from preprocessing.records.tfrecord_file import write_records
from preprocessing.records.wire import (
    BytesColumn,
    BytesSequence,
    FloatColumn,
    FloatSequence,
    Int64Column,
    RaggedBytesColumn,
    RaggedFloatColumn,
    encode_examples,
)

_ROWS_PER_CHUNK = 4096


def write_examples(data: Data, split: Split, folder: Path) -> int:
    """Writes examples, item attributes and vocabularies; returns the number of samples.

    Args:
      data: one CSV file of interactions and one of the catalogue.
      split: split by time within each user.
      folder: where everything is written.
    """
    frame = _ordered(pd.read_csv(data.interactions.paths[0], dtype={"user_id": str}))
    user_groups = frame.groupby("user_id", sort=False)
    frame["position"] = user_groups.cumcount()
    counts = user_groups["rating"].transform("size").to_numpy()
    boundary = np.minimum((counts + 1) // 2, split.knowledge_history_cap)
    frame["liked"] = (frame["rating"] >= data.positive_rating).astype(float)
    user_groups = frame.groupby("user_id", sort=False)
    divisor = frame["position"].clip(lower=1)
    frame["share_liked"] = (user_groups["liked"].cumsum() - frame["liked"]) / divisor
    frame["mean_rating"] = (user_groups["rating"].cumsum() - frame["rating"]) / divisor
    users = frame["user_id"].unique()
    folds = stable_hashes(users.tolist(), "fold") % np.uint64(contract.USER_FOLDS)
    frame["fold"] = frame["user_id"].map(dict(zip(users, folds.astype(np.int64), strict=True)))
    samples = counts - boundary
    train_end = boundary + _rounded(samples, 8)
    validation_end = boundary + _rounded(samples, 9)
    position = frame["position"].to_numpy()
    part = np.where(position < validation_end, 1, 2)
    part = np.where(position < train_end, 0, part)
    part = np.where(position < boundary, -1, part)
    columns = _columns(frame, data.history_length)
    written = 0
    for number, name in enumerate(contract.PARTS):
        rows = np.flatnonzero(part == number)
        if number == 0:
            rows = np.random.default_rng(split.seed).permutation(rows)
        path = folder / "ctr" / name / "part-00000-of-00001.tfrecord.gz"
        written += write_records(path, _encode(columns, rows))
    _write_items(frame[position < train_end], data, folder)
    return written


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.dropna()
    keys = ["user_id", "timestamp", "item_id"]
    frame = frame.sort_values(keys, kind="stable").drop_duplicates(keys)
    return frame.reset_index(drop=True)


def _rounded(samples: np.ndarray, tenths: int) -> np.ndarray:
    return (2 * samples * tenths + 10) // 20


def _columns(frame: pd.DataFrame, history_length: int):  # type: ignore[no-untyped-def]
    users = [user.encode() for user in frame["user_id"]]
    items = [str(item).encode() for item in frame["item_id"]]
    ratings = frame["rating"].to_numpy()
    position = frame["position"].to_numpy()
    item_sequence, rating_sequence = BytesSequence(items), FloatSequence(ratings)
    arrays = {
        name: frame[name].to_numpy()
        for name in ("liked", "share_liked", "mean_rating", "timestamp", "fold")
    }

    def of_rows(rows: np.ndarray):  # type: ignore[no-untyped-def]
        starts = rows - np.minimum(position[rows], history_length)
        return {
            contract.USER_ID: BytesColumn([users[row] for row in rows]),
            contract.ITEM_ID: BytesColumn([items[row] for row in rows]),
            contract.LABEL: FloatColumn(arrays["liked"][rows]),
            contract.RATING: FloatColumn(ratings[rows]),
            contract.HISTORY_ITEM_ID: RaggedBytesColumn(item_sequence, starts, rows),
            contract.HISTORY_RATING: RaggedFloatColumn(rating_sequence, starts, rows),
            contract.USER_SHARE_LIKED: FloatColumn(arrays["share_liked"][rows]),
            contract.USER_MEAN_RATING: FloatColumn(arrays["mean_rating"][rows]),
            contract.USER_LOG_COUNT: FloatColumn(np.log1p(position[rows])),
            contract.TIMESTAMP: Int64Column(arrays["timestamp"][rows]),
            contract.POSITION: Int64Column(position[rows]),
            contract.USER_FOLD: Int64Column(arrays["fold"][rows]),
        }

    return of_rows


def _encode(columns, rows: np.ndarray):  # type: ignore[no-untyped-def]
    for start in range(0, len(rows), _ROWS_PER_CHUNK):
        yield from encode_examples(columns(rows[start : start + _ROWS_PER_CHUNK]))


def _write_items(training: pd.DataFrame, data: Data, folder: Path) -> None:
    catalogue = pd.read_csv(data.catalogue.paths[0])
    catalogue["genres"] = catalogue["genres"].str.split("|")
    by_fold = training.groupby(["item_id", "fold"])["rating"].agg(["sum", "count"])
    wide = by_fold.unstack(fill_value=0)
    wide.columns = [f"{kind}_{fold}" for kind, fold in wide.columns]
    items = catalogue.merge(wide.reset_index(), on="item_id", how="outer")
    items.to_parquet(folder / "item_attributes.parquet")
    vocabularies = {
        "item_id": training["item_id"].value_counts(),
        "user_id": training["user_id"].value_counts(),
        "genres": catalogue["genres"].explode().value_counts(),
    }
    (folder / "vocabularies").mkdir()
    for name, counts in vocabularies.items():
        lines = "".join(f"{value}\n" for value in counts.index)
        (folder / "vocabularies" / f"{name}.txt").write_text(lines, encoding="utf-8")
