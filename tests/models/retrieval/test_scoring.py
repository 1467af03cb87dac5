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


def test_knowledge_in_the_place_of_the_id_is_not_hidden_with_the_interactions() -> None:
    model = small_retrieval_model(
        adapter="replace_id",
        sources=("item",),
        id_dropout_rate=0.5,
        id_dropout_hides="interactions",
    )
    prepared = model.prepared(raw_features(60))
    rows, augmented = prepared["item_row"], augment(model.adapter, prepared, training=False)
    numbers = model.inputs_preparation.item_numbers(rows).numpy()
    shown = model.scorer.item_vectors(rows, numbers, augmented).numpy()
    new = model.scorer.item_vectors(
        rows, numbers * ([0, 0] + [1] * (numbers.shape[1] - 2)), augmented
    )
    tf.keras.utils.set_random_seed(0)
    _, actual = model.scorer(prepared, augmented, training=True)
    is_new = np.abs(actual - new).max(axis=1) < 1e-5
    is_shown = np.abs(actual - shown).max(axis=1) < 1e-5
    np.testing.assert_array_equal(is_new | is_shown, True)
    assert 0.2 < is_new.mean() < 0.8


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_an_item_whose_id_is_hidden_has_no_statistics_either(share: float) -> None:
    model = small_retrieval_model(id_dropout_rate=0.5, id_dropout_hides="interactions")
    items = model.scorer.assembly.items
    items.id_dropout_rate = share
    prepared = model.prepared(raw_features(60))
    augmented = augment(model.adapter, prepared, training=False)
    _, actual = model.scorer(prepared, augmented, training=True)

    rows = prepared["item_row"]
    numbers = model.inputs_preparation.item_numbers(rows).numpy()
    assert (numbers[:, :2] != 0).any(axis=1).mean() > 0.5
    shown = model.scorer.item_vectors(rows, numbers, augmented).numpy()
    fields, _ = model.scorer.assembly.items(rows, tf.zeros([1, 0], tf.int32))
    fields, numbers = fields.numpy(), numbers.copy()
    fields[:, 0] = items.ids.default()
    numbers[:, :2] = 0
    new = model.scorer.vectors_of_fields(tf.constant(fields), numbers, augmented).numpy()

    is_new = np.abs(actual - new).max(axis=1) < 1e-5
    is_shown = np.abs(actual - shown).max(axis=1) < 1e-5
    np.testing.assert_array_equal(is_new | is_shown, True)
    if share in (0, 1):
        assert (is_shown if share == 0 else is_new).all()
    else:
        assert is_new.any() and is_shown.any()
