from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.ranking import RankingModel
from serving.serving_module import ServingModule, request_specifications
from tests.runs import ARMS, written_run
from tests.serving.exports import one_user_request, request_rows


@pytest.mark.parametrize("arm", ARMS)
def test_stored_augmented_vectors_lose_nothing(arm: str) -> None:
    model = written_run("din", arm).model
    raw = {name: tf.constant(values) for name, values in request_rows().items()}
    expected = model.probabilities(raw).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(ServingModule(model).scores(raw), expected, atol=1e-6)


def test_the_module_holds_augmented_vectors_instead_of_the_adapter() -> None:
    model = written_run("din", "hein").model
    module = ServingModule(model)
    held = {variable.ref() for variable in module.variables}
    replaced = [*model.adapter.trainable_weights, *_knowledge_vectors(model)]
    assert len(replaced) > 4 and not held & {weight.ref() for weight in replaced}
    assert {weight.ref() for weight in model.scorer.trainable_weights} <= held
    shapes = {
        variable.name: variable.shape.as_list()
        for variable in module.variables
        if "augmented" in variable.name
    }
    tables = model.adapter.tables
    assert shapes == {
        f"{source}_augmented:0": [tables[source].num_rows, 8] for source in ("item", "user")
    }


def _knowledge_vectors(model: RankingModel) -> list[tf.Variable]:
    return [weight for weight in model.adapter.weights if weight.dtype == tf.float16]


def test_augmented_vectors_may_be_stored_in_float16() -> None:
    model = written_run("din", "hein").model
    raw = {name: tf.constant(values) for name, values in request_rows().items()}
    exact = ServingModule(model).scores(raw).numpy()
    rounded = ServingModule(model, tf.float16).scores(raw).numpy()
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 1e-3


def test_later_training_does_not_change_the_stored_vectors() -> None:
    model = written_run("din", "hein", seed=2).model
    module = ServingModule(model)
    raw = {name: tf.constant(values) for name, values in request_rows().items()}
    before = module.scores(raw).numpy()
    kept = [weight.numpy() for weight in model.adapter.trainable_weights]
    for weight in model.adapter.trainable_weights:
        weight.assign(tf.zeros_like(weight))
    assert np.abs(model.probabilities(raw).numpy() - before).max() > 1e-3
    np.testing.assert_array_equal(module.scores(raw), before)
    for weight, value in zip(model.adapter.trainable_weights, kept, strict=True):
        weight.assign(value)


def test_one_users_features_serve_all_candidates() -> None:
    module = ServingModule(written_run("din", "ridge").model)
    ranked, repeated = (
        {name: tf.constant(values) for name, values in raw.items()} for raw in one_user_request(0)
    )
    np.testing.assert_allclose(module.scores(ranked), module.scores(repeated), atol=1e-6)


def test_request_specifications_give_users_and_candidates_their_own_batch() -> None:
    shapes = {
        name: specification.shape.as_list()
        for name, specification in request_specifications(1, None).items()
    }
    assert shapes == {
        "user_id": [1],
        "item_id": [None],
        "history_item_id": [1, None],
        "history_rating": [1, None],
        "user_share_liked": [1],
        "user_mean_rating": [1],
        "user_log_count": [1],
    }
    for name, specification in request_specifications(3, 5).items():
        assert specification.name == name
        assert specification.shape[0] == (5 if name == "item_id" else 3)
