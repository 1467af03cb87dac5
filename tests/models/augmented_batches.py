"""Prepared batches of rows, candidates or lists, and augmented vectors from plain tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from models.profiles import ProfileLookup
from tests.models.builders import PROFILES

WIDTH, LENGTH = 4, 3
TABLES = {
    name: np.random.default_rng(seed).normal(size=[7, WIDTH]).astype(np.float32)
    for seed, name in enumerate(["item", "plot", "user"])
}


class Lookup:
    """Augmented vectors from plain tables; counts its calls."""

    sources = ("item", "plot", "user")

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, rows: Mapping[str, tf.Tensor], **_: object) -> dict[str, tf.Tensor]:
        self.calls += 1
        return {source: tf.gather(TABLES[source], rows[source]) for source in self.sources}

    def defaults(self) -> dict[str, tf.Tensor]:
        return {source: tf.constant(TABLES[source][0]) for source in self.sources}


def prepared(shape: tuple[int, ...], users: int, seed: int = 0) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(seed)

    def rows(size: tuple[int, ...]) -> tf.Tensor:
        return tf.constant(random.integers(0, 7, size), tf.int32)

    raw = {
        "profile_jobs": tf.constant(random.choice(["cook", "poet", ""], [users, 2])),
        "profile_age": tf.constant(random.choice([20, np.nan], [users, 1]), tf.float32),
    }
    return {
        "item_row": rows(shape),
        "history_row": rows((users, LENGTH)),
        "history_rating": tf.constant(random.integers(1, 6, [users, LENGTH]), tf.float32),
        "history_mask": tf.constant(random.integers(0, 2, [users, LENGTH]) > 0),
        "numeric": tf.constant(random.normal(size=[*shape, 5]), tf.float32),
        "match": tf.constant(random.normal(size=[*shape, 2]), tf.float32),
        "knowledge_row/item": rows(shape),
        "knowledge_row/plot": rows(shape),
        "knowledge_row/user": rows((users,)),
        "history_knowledge_row/item": rows((users, LENGTH)),
        "history_knowledge_row/plot": rows((users, LENGTH)),
        **ProfileLookup(PROFILES)(raw),
    }


SHAPES = [((3,), 3), ((3,), 1), ((2, 4), 2)]
