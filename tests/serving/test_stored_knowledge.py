from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.adapters.stored import AugmentedTables
from models.building import AnyModel
from models.item_ids import StoredIds
from preprocessing.records.contract import USER_FOLDS
from serving.stored_knowledge import StoredPrior, store_knowledge
from tests.runs import random_model, raw_requests
from tests.scenarios import rich_scenario, tiny_scenario
from tests.serving.exports import profile_rows, tensors, variant_scenario


def scores(model: AnyModel) -> np.ndarray:
    return model.probabilities(tensors(profile_rows())).numpy()


@pytest.mark.parametrize("name", ["mlp", "hein", "replace_id"])
def test_a_model_scores_as_before(name: str) -> None:
    model = random_model(variant_scenario(name))
    before = scores(model)
    assert before.std() > 0.01
    store_knowledge(model)
    np.testing.assert_allclose(scores(model), before, atol=1e-6)


def test_neither_adapter_nor_knowledge_nor_folds_are_left() -> None:
    model = random_model(variant_scenario("hein"))
    preparation = model.inputs_preparation
    tables = model.adapter.augmented_tables()
    numbers = preparation.priors[0](tf.range(preparation.catalogue.num_items + 1)).numpy()
    # The index of user ids is the only part of a knowledge table that requests read.
    vectors = [weight for weight in model.adapter.weights if weight.dtype == tf.float16]
    assert len(vectors) == len(tables) == 3
    replaced = [
        *vectors,
        *model.adapter.trainable_weights,
        *preparation.priors[0].weights,
        *preparation.matches.weights,
    ]
    assert preparation.matches.has_folds and preparation.catalogue.num_folds == USER_FOLDS
    store_knowledge(model)
    assert isinstance(model.adapter, AugmentedTables)
    stored = {variable.name: variable for variable in model.adapter.variables}
    assert stored.keys() == {f"knowledge/{source}/augmented/values:0" for source in tables}
    for source, table in tables.items():
        np.testing.assert_array_equal(stored[f"knowledge/{source}/augmented/values:0"], table)
    (prior,) = preparation.priors
    assert isinstance(prior, StoredPrior)
    np.testing.assert_array_equal(prior.variables[0], numbers)
    assert not preparation.matches.has_folds and preparation.catalogue.num_folds == 0
    parts = [preparation, *model.checkpoint_parts().values()]
    left = {variable.ref() for part in parts for variable in part.variables}
    assert not left & {weight.ref() for weight in replaced}
    assert {weight.ref() for weight in model.scorer.trainable_weights} <= left


def test_knowledge_in_place_of_ids_is_stored() -> None:
    model = random_model(variant_scenario("replace_id"))
    items = model.scorer.assembly.items
    table, replaced = items.ids.table(), {weight.ref() for weight in items.ids.weights}
    assert len(replaced) > 4
    store_knowledge(model)
    assert isinstance(items.ids, StoredIds)
    np.testing.assert_array_equal(items.ids.table(), table)
    assert not {weight.ref() for weight in model.scorer.weights} & replaced


def test_a_learned_match_stays_as_it_was_trained() -> None:
    model = random_model(variant_scenario("moe"))
    trained = [weight.numpy() for weight in model.learned_match.trainable_weights]
    assert len(trained) == 6
    store_knowledge(model)
    assert model.learned_match is model.inputs_preparation.matches
    assert not model.learned_match.has_folds
    for weight, value in zip(model.learned_match.trainable_weights, trained, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_only_the_named_sources_are_stored() -> None:
    model = random_model(rich_scenario(model__backbone="two_tower"))
    store_knowledge(model, sources=["user"])
    assert model.adapter.sources == ("user",)


@pytest.mark.parametrize("adapter", ["hein", "replace_id"])
def test_vectors_may_be_stored_in_float16(adapter: str) -> None:
    model = random_model(tiny_scenario(model__adapter=adapter, knowledge__sources=["item"]))
    raw = raw_requests(tiny_scenario())
    exact = model.probabilities(raw).numpy()
    store_knowledge(model, "float16")
    rounded = model.probabilities(raw).numpy()
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 1e-3


def test_a_model_without_knowledge_stays_as_it_is() -> None:
    model = random_model(tiny_scenario(model__adapter="none"))
    raw = raw_requests(tiny_scenario())
    before = model.probabilities(raw).numpy()
    store_knowledge(model)
    assert model.adapter is None
    np.testing.assert_allclose(model.probabilities(raw).numpy(), before, atol=1e-6)
