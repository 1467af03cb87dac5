"""A small SavedModel with the signatures of our exports, and the same computation in NumPy."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

BIAS = 0.125
POSITIVE = 4.0
"""A share of liked items that is NaN is counted in the history, as exports do."""


def toy_score(
    user_id: str,
    item_id: str,
    history_item_id: Sequence[str],
    history_rating: Sequence[float],
    user_share_liked: float,
    user_mean_rating: float,
    user_log_count: float,
) -> float:
    """One score in NumPy; the history counts where its id is not empty."""
    history = sum(
        rating for item, rating in zip(history_item_id, history_rating, strict=True) if item
    )
    logit = (
        0.3 * len(item_id.encode())
        - 0.2 * len(user_id.encode())
        + 0.05 * history
        + 0.5 * user_share_liked
        - 0.1 * user_mean_rating
        + 0.2 * user_log_count
        - BIAS
    )
    return float(1 / (1 + np.exp(-logit)))


def _strings(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.string)


def _floats(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32)


def _of_rows(users: int | None) -> list[tf.TensorSpec]:
    """Signature of the features of as many users as candidates, or of one."""
    texts = [_strings(users), _strings(None), _strings(users, None)]
    return [*texts, _floats(users, None), *[_floats(users)] * 3]


class ToyRanker(tf.Module):
    def __init__(self, bias: float = BIAS):
        super().__init__()
        self.bias = tf.Variable(bias)
        self.score_rows = tf.function(self._score, input_signature=_of_rows(None))
        self.rank = tf.function(self._score, input_signature=_of_rows(1))

    def _score(
        self,
        user_id,
        item_id,
        history_item_id,
        history_rating,
        user_share_liked,
        user_mean_rating,
        user_log_count,
    ):
        is_item = tf.cast(tf.strings.length(history_item_id) > 0, tf.float32)
        liked = tf.reduce_sum(is_item * tf.cast(history_rating >= POSITIVE, tf.float32), axis=-1)
        counted = tf.math.divide_no_nan(liked, tf.reduce_sum(is_item, axis=-1))
        is_left_open = tf.math.is_nan(user_share_liked)
        user_share_liked = tf.where(is_left_open, counted, user_share_liked)
        logit = (
            0.3 * tf.cast(tf.strings.length(item_id), tf.float32)
            - 0.2 * tf.cast(tf.strings.length(user_id), tf.float32)
            + 0.05 * tf.reduce_sum(is_item * history_rating, axis=-1)
            + 0.5 * user_share_liked
            - 0.1 * user_mean_rating
            + 0.2 * user_log_count
            - self.bias
        )
        return {"score": tf.sigmoid(logit)}

    def _score_examples(self, serialized):
        number = tf.io.FixedLenFeature([], tf.float32)
        string = tf.io.FixedLenFeature([], tf.string)
        features = tf.io.parse_example(
            serialized,
            {
                "user_id": string,
                "item_id": string,
                "history_item_id": tf.io.RaggedFeature(tf.string),
                "history_rating": tf.io.RaggedFeature(tf.float32),
                "user_share_liked": number,
                "user_mean_rating": number,
                "user_log_count": number,
            },
        )
        for name in ("history_item_id", "history_rating"):
            features[name] = features[name].to_tensor()
        return self._score(**features)["score"]

    @tf.function(input_signature=[_strings(None)])
    def predict_examples(self, examples):
        return {"score": self._score_examples(examples)}

    @tf.function(input_signature=[_strings(None)])
    def classify(self, inputs):
        return {"scores": self._score_examples(inputs)[:, tf.newaxis]}

    @tf.function(input_signature=[_strings(None)])
    def classify_labelled(self, inputs):
        scores = self._score_examples(inputs)
        labels = tf.tile([["disliked", "liked"]], [tf.size(scores), 1])
        return {"classes": labels, "scores": tf.stack([1 - scores, scores], axis=1)}

    @tf.function(input_signature=[_strings(None)])
    def regress(self, inputs):
        return {"outputs": self._score_examples(inputs)}

    @tf.function(input_signature=[_strings(None), tf.TensorSpec([None, 2], tf.int64)])
    def echo(self, text_bytes, numbers):
        return {"text_bytes": text_bytes, "doubled": numbers * 2}


def save_toy_ranker(folder: Path, bias: float = BIAS) -> None:
    ranker = ToyRanker(bias)
    tf.saved_model.save(
        ranker,
        str(folder),
        signatures={
            "serving_default": ranker.score_rows,
            "rank": ranker.rank,
            "predict_examples": ranker.predict_examples,
            "classify": ranker.classify,
            "classify_labelled": ranker.classify_labelled,
            "regress": ranker.regress,
            "echo": ranker.echo,
        },
    )


@functools.cache
def toy_base_path() -> Path:
    """A base path with version 3 of the toy ranker, made once per process."""
    base = Path(tempfile.mkdtemp(prefix="toy_ranker_"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    save_toy_ranker(base / "3")
    return base


def toy_rows() -> dict[str, list]:
    """Three aligned rows with histories of different lengths and one that is empty."""
    return {
        "user_id": ["u1", "u22", "über"],
        "item_id": ["a", "bbbb", "cc"],
        "history_item_id": [["x", "y"], ["z", ""], ["", ""]],
        "history_rating": [[5.0, 3.5], [2.0, 0.0], [0.0, 0.0]],
        "user_share_liked": [0.5, 0.0, 0.0],
        "user_mean_rating": [4.25, 2.0, 0.0],
        "user_log_count": [1.1, 0.7, 0.0],
    }


def toy_row_scores() -> list[float]:
    """The NumPy scores of `toy_rows`."""
    rows = toy_rows()
    return [
        toy_score(**{name: values[row] for name, values in rows.items()})
        for row in range(len(rows["user_id"]))
    ]


def toy_arrays(rows: dict[str, list] | None = None) -> dict[str, np.ndarray]:
    """Rows as arrays; strings are objects."""
    return {
        name: np.asarray(values, dtype=object if name.endswith("_id") else np.float32)
        for name, values in (rows or toy_rows()).items()
    }


def toy_examples(rows: dict[str, list] | None = None) -> list[tf.train.Example]:
    """Rows as tf.Examples."""
    columns = rows or toy_rows()
    return [
        tf.train.Example(
            features=tf.train.Features(
                feature={name: _feature(values[row]) for name, values in columns.items()}
            )
        )
        for row in range(len(columns["user_id"]))
    ]


def _feature(value) -> tf.train.Feature:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], str):
        texts = [text.encode() for text in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))
