from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.assembly import augment
from tests.models.builders import raw_features
from tests.models.retrieval.models import ARMS, small_retrieval_model

COUNT = 5


@pytest.fixture(params=ARMS.values(), ids=ARMS.keys())
def model(request: pytest.FixtureRequest) -> Any:
    return small_retrieval_model(**request.param)


def with_other_side(features: dict[str, tf.Tensor], *, user_side: bool) -> dict[str, tf.Tensor]:
    """The rows in another order on one side: the user's features, or the item's."""
    return {
        name: values[::-1] if (name == "item_id") != user_side else values
        for name, values in features.items()
    }


def test_a_side_says_nothing_of_the_other(model: Any) -> None:
    raw = raw_features(COUNT)
    users, items = (vectors.numpy() for vectors in model(raw))
    assert np.ptp(users, axis=0).max() > 1e-2 and np.ptp(items, axis=0).max() > 1e-2
    same_users, other_items = (
        vectors.numpy() for vectors in model(with_other_side(raw, user_side=False))
    )
    np.testing.assert_allclose(same_users, users, atol=1e-6)
    np.testing.assert_allclose(other_items, items[::-1], atol=1e-6)
    other_users, same_items = (
        vectors.numpy() for vectors in model(with_other_side(raw, user_side=True))
    )
    np.testing.assert_allclose(other_users, users[::-1], atol=1e-6)
    np.testing.assert_allclose(same_items, items, atol=1e-6)


def test_each_side_alone_gives_the_vectors_of_a_batch(model: Any) -> None:
    prepared = model.prepared(raw_features(COUNT))
    augmented = augment(model.adapter, prepared, training=False)
    users, items = model.scorer(prepared, augmented, training=False)
    np.testing.assert_allclose(model.scorer.user_vectors(prepared, augmented), users, atol=1e-6)
    rows = prepared["item_row"]
    numbers = model.inputs_preparation.item_numbers(rows)
    alone = model.scorer.item_vectors(rows, numbers, augmented)
    np.testing.assert_allclose(alone, items, atol=1e-6)


def test_one_user_of_many_items_is_encoded_once() -> None:
    model = small_retrieval_model()
    users, items = model(raw_features(COUNT, users=1))
    assert (len(users), len(items)) == (1, COUNT)
