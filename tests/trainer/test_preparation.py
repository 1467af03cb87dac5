from __future__ import annotations

import numpy as np
import pytest

from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.building import build_model
from tests.scenarios import rich_scenario, tiny_scenario
from trainer.examples import PreparedExamples
from trainer.preparation import ExampleStore

BASE = {"model__match": "ridge", "knowledge__sources": ["item"]}


@pytest.fixture(scope="module")
def store() -> ExampleStore:
    return ExampleStore()


def examples(store: ExampleStore, scenario: Scenario, part: str = "test") -> PreparedExamples:
    model = build_model(scenario, store.tables(scenario))
    return store.examples(scenario, model, part)


@pytest.mark.parametrize(
    "changes",
    [
        {"model__backbone": "dcnv2"},
        {"training__seed": 9, "training__epochs": 5},
        {"run_dir": "elsewhere", "model__embedding_dimension": 4, "model__hein__expert_units": [4]},
    ],
)
def test_models_that_read_the_same_inputs_share_them(
    store: ExampleStore, changes: dict[str, object]
) -> None:
    first, second = tiny_scenario(**BASE), tiny_scenario(**BASE, **changes)
    assert store.tables(first) is store.tables(second)
    assert examples(store, first) is examples(store, second)


def test_parts_are_apart(store: ExampleStore) -> None:
    scenario = tiny_scenario(**BASE)
    test, validation = examples(store, scenario), examples(store, scenario, "validation")
    assert len(test) != len(validation)


@pytest.mark.parametrize(
    ("changes", "feature"),
    [
        ({"model__match": "means"}, "match"),
        ({"model__match": "none"}, "match"),
        ({"model__knowledge_match__history_length": 3}, "match"),
        ({"model__attention_history_length": 4}, "history_row"),
        ({"knowledge__sources": ["item", "user"]}, "knowledge_row/user"),
        ({"model__adapter": "none"}, "knowledge_row/item"),
        ({"model__adapter": "replace_id"}, "knowledge_row/item"),
        ({"model__history_knowledge": True}, "history_knowledge_row/item"),
        ({"model__prior": True}, "numeric"),
        ({"model__knowledge_match__learned": True}, "match"),
    ],
)
def test_models_that_read_other_inputs_do_not_share(
    store: ExampleStore, changes: dict[str, object], feature: str
) -> None:
    first = examples(store, tiny_scenario(**BASE)).features
    second = examples(store, tiny_scenario(**{**BASE, **changes})).features
    assert not np.array_equal(first.get(feature), second.get(feature))


def test_kinds_of_models_have_examples_of_their_own(store: ExampleStore) -> None:
    lists, chosen, samples = (
        examples(store, rich_scenario(model__backbone=backbone))
        for backbone in ("prm", "two_tower", "din")
    )
    assert lists.features["item_row"].ndim == 2 and chosen.history_rows is not None
    assert len({len(lists), len(chosen), len(samples)}) == 3
    assert examples(store, rich_scenario(model__backbone="dlcm")) is lists


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"model__tasks": {"loved": 1}}, "labels"),
        ({"model__user_profile": False}, "features"),
    ],
)
def test_further_labels_and_profiles_tell_examples_apart(
    store: ExampleStore, changes: dict[str, object], differs: str
) -> None:
    plain = {"model__adapter": "none"}
    first = examples(store, rich_scenario(**plain))
    second = examples(store, rich_scenario(**plain, **changes))
    assert (first.labels.shape != second.labels.shape) is (differs == "labels")
    assert (first.features.keys() != second.features.keys()) is (differs == "features")
    heavier = examples(store, rich_scenario(**plain, model__tasks={"loved": 9}))
    assert heavier is not first
    if differs == "labels":
        assert heavier is second


def test_settings_that_contradict_the_data_are_refused_whatever_is_in_memory(
    store: ExampleStore,
) -> None:
    store.tables(tiny_scenario(**BASE))
    with pytest.raises(ConfigurationError, match="positive_rating: 4.5 .* built with 4.0"):
        store.tables(tiny_scenario(**BASE, data__positive_rating=4.5))


def test_tables_of_other_sources_are_apart(store: ExampleStore) -> None:
    item = store.tables(tiny_scenario(**BASE))
    user = store.tables(tiny_scenario(knowledge__sources=["user"]))
    assert set(item.knowledge) == {"item"} and set(user.knowledge) == {"user"}
