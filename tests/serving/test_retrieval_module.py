from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.retrieving import RetrievalModel
from serving.serving_module import RetrievalModule, serving_module, user_sources
from tests.runs import random_model
from tests.scenarios import rich_scenario
from tests.serving.exports import tensors, user_rows


def model_and_module(**options: object) -> tuple[RetrievalModel, RetrievalModule]:
    model = random_model(rich_scenario(model__backbone="two_tower", **options))
    module = serving_module(model)
    assert isinstance(module, RetrievalModule)
    return model, module


@pytest.fixture(scope="module")
def parts() -> tuple[RetrievalModel, RetrievalModule]:
    return model_and_module()


def test_the_search_is_the_head_of_a_full_sort(
    parts: tuple[RetrievalModel, RetrievalModule],
) -> None:
    model, module = parts
    items = model.inputs_preparation.catalogue.item_ids
    raw = tensors(user_rows())
    scores = model.user_vectors(raw).numpy() @ model.all_item_vectors()[1:].T
    found = module.top_k(raw)
    for user, history in enumerate(raw["history_item_id"].numpy().astype(str)):
        new = [place for place, item_id in enumerate(items) if item_id not in history]
        best = sorted(new, key=lambda place: -scores[user, place])
        count = len(best)
        ids = [item_id.decode() for item_id in found["item_id"][user].numpy()]
        assert ids[:count] == [items[place] for place in best]
        assert set(ids[count:]) <= {""}
        np.testing.assert_allclose(found["score"][user, :count], scores[user, best], atol=1e-5)
    assert scores.std() > 0.01


def test_history_is_left_out_and_what_is_missing_is_empty(
    parts: tuple[RetrievalModel, RetrievalModule],
) -> None:
    model, module = parts
    items = model.inputs_preparation.catalogue.item_ids
    raw = {name: values[:1] for name, values in user_rows().items()}
    raw["history_item_id"] = np.array([["never seen", *items[:-2], ""]], dtype=object)
    raw["history_rating"] = np.ones([1, len(items)], np.float32)
    found = module.top_k(tensors(raw))
    ids, scores = found["item_id"].numpy()[0], found["score"].numpy()[0]
    assert sorted(ids[:2]) == sorted(item.encode() for item in items[-2:])
    assert scores[0] >= scores[1] and np.isfinite(scores).all()
    assert set(ids[2:]) == {b""} and not scores[2:].any()


def test_vectors_multiply_to_the_scores(parts: tuple[RetrievalModel, RetrievalModule]) -> None:
    _, module = parts
    raw = tensors(user_rows())
    found = module.top_k(raw)
    users = module.user_vectors(raw)["vector"].numpy()
    best = module.item_vectors({"item_id": found["item_id"][:, 0]})["vector"].numpy()
    np.testing.assert_allclose((users * best).sum(axis=1), found["score"][:, 0], atol=1e-5)
    items = {"item_id": tf.constant(["never seen", "nor this", "1"])}
    unknown = module.item_vectors(items)["vector"].numpy()
    np.testing.assert_array_equal(unknown[0], unknown[1])
    assert np.abs(unknown[2] - unknown[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "sources"),
    [
        ({}, ["user"]),
        ({"model__history_knowledge": True}, ["user", "item"]),
        ({"knowledge__sources": ["item"]}, []),
        ({"model__adapter": "none"}, []),
    ],
)
def test_only_what_users_need_is_kept(options: dict[str, object], sources: list[str]) -> None:
    model, module = model_and_module(**options)
    assert user_sources(model) == sources
    assert module.top_k(tensors(user_rows()))["score"].shape[0] == 12
    kept = [variable.name for variable in module.variables if "augmented" in variable.name]
    assert sorted(kept) == sorted(f"knowledge/{source}/augmented/values:0" for source in sources)
