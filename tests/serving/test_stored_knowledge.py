from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pytest
import tensorflow as tf

from models.building import AnyModel
from models.item_ids import StoredIds
from models.vector_tables import AugmentedTables
from preprocessing.records.contract import USER_FOLDS
from serving.serving_module import serving_module
from serving.stored_knowledge import StoredPrior, with_stored_knowledge
from tests.models.builders import augmented_tables
from tests.runs import random_model, raw_requests, rich_run, written_run
from tests.scenarios import tiny_scenario
from tests.serving.exports import profile_rows, tensors, variant_run


def scores(model: AnyModel) -> np.ndarray:
    return model.probabilities(tensors(profile_rows())).numpy()


def attributes(model: AnyModel) -> dict[tuple[int, str], list[int]]:
    """Which objects the model and every layer and module inside hold, by owner and attribute.

    A Keras network within is left out, because it infers its graph anew whenever it is called.
    """
    networks = [part for part in model.submodules if isinstance(part, tf.keras.Model)]
    left_out = {id(part) for network in networks for part in (network, *network.submodules)}
    return {
        (id(part), name): [id(value), *map(id, _entries(value))]
        for part in (model, *model.submodules)
        if id(part) not in left_out
        for name, value in vars(part).items()
    }


def _entries(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


@pytest.mark.parametrize("name", ["moe", "hein", "replace_id", "prm", "two_tower"])
def test_the_trained_model_is_the_same_after_an_export(name: str) -> None:
    model = variant_run(name).model
    before, weights = attributes(model), [weight.numpy() for weight in model.variables]
    module = serving_module(model)
    module.signatures()
    after = attributes(model)
    changed = {key[1] for key in {*before, *after} if before.get(key) != after.get(key)}
    assert len(before) > 1000 and changed == set()
    for weight, value in zip(model.variables, weights, strict=True):
        np.testing.assert_array_equal(weight, value)
    served, trained = (
        {each.ref() for each in variables}
        for variables in (module.variables, model.scorer.trainable_weights)
    )
    # Knowledge in place of ids is all that is trained in the scorer and not served as it is.
    assert served >= trained or name == "replace_id" and served & trained


@pytest.mark.parametrize("name", ["mlp", "hein", "replace_id"])
def test_a_model_scores_as_before(name: str) -> None:
    model = variant_run(name).model
    expected = scores(model)
    assert expected.std() > 0.01
    np.testing.assert_allclose(scores(with_stored_knowledge(model)), expected, atol=1e-6)
    np.testing.assert_array_equal(scores(model), expected)


def test_neither_adapter_nor_knowledge_nor_folds_are_left() -> None:
    model = variant_run("hein").model
    trained = model.inputs_preparation
    tables = augmented_tables(model.adapter)
    numbers = trained.priors[0](tf.range(trained.catalogue.num_items + 1)).numpy()
    # The index of user ids is the only part of a knowledge table that requests read.
    vectors = [weight for weight in model.adapter.weights if weight.dtype == tf.float16]
    assert len(vectors) == len(tables) == 3
    replaced = [
        *vectors,
        *model.adapter.trainable_weights,
        *trained.priors[0].weights,
        *trained.matches.weights,
    ]
    assert trained.matches.has_folds and trained.catalogue.num_folds == USER_FOLDS
    stored = with_stored_knowledge(model)
    assert isinstance(stored.adapter, AugmentedTables)
    variables = {variable.name: variable for variable in stored.adapter.variables}
    assert variables.keys() == {f"knowledge/{source}/augmented/values:0" for source in tables}
    for source, table in tables.items():
        np.testing.assert_array_equal(variables[f"knowledge/{source}/augmented/values:0"], table)
    preparation = stored.inputs_preparation
    (prior,) = preparation.priors
    assert isinstance(prior, StoredPrior)
    np.testing.assert_array_equal(prior.variables[0], numbers)
    assert not preparation.matches.has_folds and preparation.catalogue.num_folds == 0
    parts = [preparation, *stored.checkpoint_parts().values()]
    left = {variable.ref() for part in parts for variable in part.variables}
    assert not left & {weight.ref() for weight in replaced}
    assert {weight.ref() for weight in model.scorer.trainable_weights} <= left


def test_knowledge_in_place_of_ids_is_stored() -> None:
    model = variant_run("replace_id").model
    ids = model.scorer.assembly.items.ids
    replaced = {weight.ref() for weight in ids.weights}
    assert len(replaced) > 4
    stored = with_stored_knowledge(model)
    stored_ids = stored.scorer.assembly.items.ids
    assert isinstance(stored_ids, StoredIds)
    np.testing.assert_array_equal(stored_ids.table(), ids.table())
    assert not {weight.ref() for weight in stored.scorer.weights} & replaced


def test_a_learned_match_stays_as_it_was_trained() -> None:
    model = variant_run("moe").model
    trained = [weight.numpy() for weight in model.learned_match.trainable_weights]
    assert len(trained) == 6
    stored = with_stored_knowledge(model)
    assert stored.learned_match is stored.inputs_preparation.matches
    assert model.learned_match.has_folds and not stored.learned_match.has_folds
    for weight, value in zip(stored.learned_match.trainable_weights, trained, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_only_the_named_sources_are_stored() -> None:
    model = rich_run("two_tower").model
    assert with_stored_knowledge(model, sources=["user"]).adapter.sources == ("user",)


@pytest.mark.parametrize("adapter", ["hein", "replace_id"])
def test_vectors_may_be_stored_in_float16(adapter: str) -> None:
    model = random_model(tiny_scenario(model__adapter=adapter, knowledge__sources=["item"]))
    raw = raw_requests(tiny_scenario())
    rounded = with_stored_knowledge(model, "float16").probabilities(raw).numpy()
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - model.probabilities(raw).numpy()).max() < 1e-3


def test_a_model_without_knowledge_stays_as_it_is() -> None:
    model = written_run("din", "none").model
    raw = raw_requests(tiny_scenario())
    stored = with_stored_knowledge(model)
    assert stored.adapter is None
    np.testing.assert_allclose(
        stored.probabilities(raw).numpy(), model.probabilities(raw).numpy(), atol=1e-6
    )
