from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.layer_support import precision
from models.retrieving import RetrievalModel
from tests.models.builders import ITEM_IDS, raw_features
from tests.models.retrieval.models import ARMS, small_retrieval_model

COUNT = 12
NUM_ITEMS = len(ITEM_IDS)


@pytest.fixture(scope="module", params=ARMS)
def model(request: pytest.FixtureRequest) -> RetrievalModel:
    """A model that no test changes."""
    return small_retrieval_model(**ARMS[request.param])


def test_vectors_of_all_items_are_those_of_each(model: RetrievalModel) -> None:
    vectors = model.all_item_vectors()
    assert vectors.shape[0] == NUM_ITEMS + 1
    for row in range(NUM_ITEMS + 1):
        np.testing.assert_allclose(
            model.item_vectors(tf.constant([row]))[0], vectors[row], atol=1e-6
        )


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
        for row, user_scores in zip(rows.numpy(), scores, strict=True):
            # The unknown item cannot be found.
            ranks.append((user_scores > user_scores[row - 1]).sum() if row else NUM_ITEMS)
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
    with precision("mixed_bfloat16"):
        mixed = small_retrieval_model()
        loss = mixed.compute_loss((raw, None))
        mixed.compile(optimizer=tf.keras.optimizers.Adam(0.02))
        mixed.optimizer.build(mixed.trainable_variables)
        train_step = tf.function(mixed.train_step)
        first = train_step((raw, None))["loss"]
        for _ in range(20):
            last = train_step((raw, None))["loss"]
        metric = mixed.factorized_top_k((1, 3))
        rows = mixed.inputs_preparation(raw)["item_row"]
        metric.update_state(*mixed(raw), true_candidate_ids=rows)
        users, items = mixed.user_vectors(raw), mixed.item_vectors(tf.range(1, NUM_ITEMS + 1))
    assert loss.dtype == users.dtype == items.dtype == tf.float32
    assert float(loss) == pytest.approx(float(expected), rel=0.1)
    assert last < 0.9 * first
    known = rows.numpy() > 0
    scores = users.numpy() @ items.numpy().T
    own = np.take_along_axis(scores, np.maximum(rows.numpy()[:, np.newaxis] - 1, 0), axis=1)
    # Scores this close may be equal in bfloat16; then either item may come first.
    surely_better = (scores > own + 2e-3).sum(axis=1)
    perhaps_better = (scores > own - 2e-3).sum(axis=1) - 1
    for k, share in zip((1, 3), metric.result(), strict=True):
        assert (known & (perhaps_better < k)).mean() <= share + 1e-6
        assert share <= (known & (surely_better < k)).mean() + 1e-6
