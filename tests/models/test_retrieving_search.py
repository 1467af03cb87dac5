from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.retrieving import RetrievalModel
from tests.models.builders import ITEM_IDS, raw_features
from tests.models.retrieval.models import ARMS, small_retrieval_model

COUNT = 12
NUM_ITEMS = len(ITEM_IDS)


@pytest.fixture(scope="module", params=ARMS)
def model(request: pytest.FixtureRequest) -> RetrievalModel:
    """A model that no test changes."""
    return small_retrieval_model(**ARMS[request.param])


@pytest.mark.parametrize("k", [1, 3, NUM_ITEMS, NUM_ITEMS + 5])
def test_top_k_is_the_head_of_a_full_sort(model: RetrievalModel, k: int) -> None:
    raw = raw_features(COUNT)
    scores, rows = model.top_k(raw, k)
    users = model.user_vectors(raw).numpy()
    items = model.item_vectors(tf.range(1, NUM_ITEMS + 1)).numpy()
    expected = users @ items.T
    order = np.argsort(-expected, axis=1)[:, :k]
    np.testing.assert_array_equal(rows, order + 1)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, order, axis=1), atol=1e-5)


@pytest.mark.parametrize("k", [2, NUM_ITEMS])
def test_top_k_without_the_history(model: RetrievalModel, k: int) -> None:
    raw = raw_features(COUNT)
    scores, rows = model.top_k(raw, k, exclude_history=True)
    users = model.user_vectors(raw).numpy()
    items = model.item_vectors(tf.range(1, NUM_ITEMS + 1)).numpy()
    for user, history in enumerate(raw["history_item_id"].numpy().astype(str)):
        new = [row for row, item_id in enumerate(ITEM_IDS, start=1) if item_id not in history]
        best = sorted(new, key=lambda row: -(users[user] @ items[row - 1]))[:k]
        missing = k - len(best)
        assert rows[user].numpy().tolist() == best + [0] * missing
        np.testing.assert_allclose(
            scores[user],
            [users[user] @ items[row - 1] for row in best] + [-np.inf] * missing,
            atol=1e-5,
        )
    assert (rows.numpy() == 0).any() == (k == NUM_ITEMS)


def test_the_history_cannot_be_left_out_of_prepared_features() -> None:
    model = small_retrieval_model()
    prepared = model.inputs_preparation(raw_features(2))
    with pytest.raises(ValueError, match="exclude_history needs raw features"):
        model.top_k(prepared, 2, exclude_history=True)


def test_one_index_serves_many_batches_and_graphs() -> None:
    model, raw = small_retrieval_model(), raw_features(COUNT)
    index = model.index(3)
    in_graph = tf.function(lambda features: model.top_k(features, 2, index, exclude_history=True))
    expected_scores, expected_rows = model.top_k(raw, 2, exclude_history=True)
    scores, rows = in_graph(raw)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    # The index holds the weights it was made with.
    before = model.top_k(raw, 3, index)[0].numpy()
    model.scorer.towers._item_output.bias.assign_add([2.0, -1, 0, 1])
    np.testing.assert_array_equal(model.top_k(raw, 3, index)[0], before)
    assert not np.allclose(model.top_k(raw, 3)[0], before, atol=1e-2)


def test_factorized_top_k_counts_ranks(model: RetrievalModel) -> None:
    ks = (1, 2, 5)
    metric = model.factorized_top_k(ks)
    ranks = []
    for seed in range(3):
        raw = raw_features(COUNT, seed=seed)
        rows = model.inputs_preparation(raw)["item_row"]
        users, items = model(raw)
        metric.update_state(users, items, true_candidate_ids=rows)
        all_items = model.item_vectors(tf.range(1, NUM_ITEMS + 1)).numpy()
        scores = users.numpy() @ all_items.T
        for row, of_user in zip(rows.numpy(), scores, strict=True):
            # The unknown item cannot be found.
            ranks.append((of_user > of_user[row - 1]).sum() if row else NUM_ITEMS)
    expected = [np.mean(np.array(ranks) < k) for k in ks]
    np.testing.assert_allclose(metric.result(), expected, atol=1e-6)
    assert 0 < expected[0] < expected[2] < 1
    metric.reset_states()
    assert [float(value) for value in metric.result()] == [0, 0, 0]


def test_a_k_beyond_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there are 6 items.*Received: ks=\(1, 7\)"):
        small_retrieval_model().factorized_top_k((1, 7))


def test_training_and_search_run_in_mixed_precision() -> None:
    raw = raw_features(COUNT)
    exact = small_retrieval_model()
    expected = exact.compute_loss((raw, None))
    try:
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
        mixed = small_retrieval_model()
        loss = mixed.compute_loss((raw, None))
        mixed.compile(optimizer=tf.keras.optimizers.Adam(0.02))
        train_step = tf.function(mixed.train_step)
        first = train_step((raw, None))["loss"]
        for _ in range(20):
            last = train_step((raw, None))["loss"]
        scores, rows = mixed.top_k(raw, 3)
        metric = mixed.factorized_top_k((1, 3))
        metric.update_state(
            *mixed(raw), true_candidate_ids=mixed.inputs_preparation(raw)["item_row"]
        )
        users, items = mixed.user_vectors(raw), mixed.item_vectors(tf.range(1, NUM_ITEMS + 1))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert loss.dtype == scores.dtype == users.dtype == items.dtype == tf.float32
    assert float(loss) == pytest.approx(float(expected), rel=0.1)
    assert last < 0.9 * first
    all_scores = users.numpy() @ items.numpy().T
    np.testing.assert_allclose(scores, -np.sort(-all_scores, axis=1)[:, :3], atol=1e-6)
    assert tf.keras.mixed_precision.global_policy().name == "float32"
