"""Fields for the tests of retrieval models."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from models.retrieval.base import ItemInputs, UserInputs

WIDTH = 3
STEP_WIDTH = 2 * WIDTH + 2


def user_inputs(users: int = 4, length: int = 5, sources: int = 1) -> UserInputs:
    """Random fields; user i has i steps of padding in front of `length` steps."""
    random = np.random.default_rng(0)
    return UserInputs(
        history=_constant(random.normal(size=[users, length, STEP_WIDTH])),
        history_mask=tf.constant(np.arange(length) >= np.arange(users)[:, np.newaxis]),
        numeric=_constant(random.normal(size=[users, 3])),
        side_fields=_constant(random.normal(size=[users, sources, WIDTH])),
    )


def item_inputs(items: int = 6, sources: int = 2) -> ItemInputs:
    """Random fields: two item fields, four numbers."""
    random = np.random.default_rng(1)
    return ItemInputs(
        fields=_constant(random.normal(size=[items, 2, WIDTH])),
        numeric=_constant(random.normal(size=[items, 4])),
        side_fields=_constant(random.normal(size=[items, sources, WIDTH])),
    )


def _constant(values: np.ndarray) -> tf.Tensor:
    return tf.constant(values, tf.float32)
