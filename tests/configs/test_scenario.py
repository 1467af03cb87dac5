from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from configs.modelling import HybridExpert
from configs.scenario import Scenario, Serving

ITEM_ANSWERS: dict[str, Any] = {"entity": "item", "individual": ["items.jsonl"]}
USER_ANSWERS: dict[str, Any] = {"entity": "user", "individual": ["users.jsonl"]}


def tree(**sections: object) -> dict[str, object]:
    smallest: dict[str, object] = {
        "name": "small",
        "work_dir": "out/small",
        "data": {"interactions": {"path": "ratings.csv"}, "catalogue": {"path": "movies.csv"}},
        "knowledge": {"answers": {"item": ITEM_ANSWERS, "user": USER_ANSWERS}},
    }
    return smallest | sections


def test_defaults_are_the_documented_ones() -> None:
    scenario = Scenario.model_validate(tree())
    assert scenario.run_dir is None
    assert scenario.data.history_length == 200
    assert scenario.data.positive_rating == 4.0
    assert scenario.split.by == "time"
    assert scenario.split.fractions == (0.8, 0.1, 0.1)
    assert scenario.split.knowledge_history_cap == 30
    assert scenario.knowledge.sources == ("item", "user")
    assert scenario.knowledge.encoder.kind == "minilm"
    assert (scenario.model.backbone, scenario.model.adapter, scenario.model.match) == (
        "din",
        "hein",
        "none",
    )
    assert scenario.model.attention_history_length == 30
    assert scenario.model.hein == HybridExpert(
        num_shared_experts=2, num_dedicated_experts=5, expert_units=(128, 32), dropout_rate=0.0
    )
    assert scenario.serving == Serving(model_name="ranker", augmented_dtype="float32")


def test_a_scenario_cannot_be_changed() -> None:
    scenario = Scenario.model_validate(tree())
    with pytest.raises(ValidationError, match="frozen"):
        scenario.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        scenario.training.seed = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("sections", "location"),
    [
        ({"tranining": {}}, ("tranining",)),
        ({"training": {"epoch": 3}}, ("training", "epoch")),
        ({"model": {"hein": {"experts": 3}}}, ("model", "hein", "experts")),
        (
            {"knowledge": {"answers": {"item": ITEM_ANSWERS | {"llm": "x"}}, "sources": ["item"]}},
            ("knowledge", "answers", "item", "llm"),
        ),
    ],
)
def test_unknown_keys_are_refused(sections: dict[str, object], location: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as raised:
        Scenario.model_validate(tree(**sections))
    (problem,) = raised.value.errors()
    assert (problem["type"], problem["loc"]) == ("extra_forbidden", location)


@pytest.mark.parametrize("missing", ["name", "work_dir", "data", "knowledge"])
def test_required_keys(missing: str) -> None:
    incomplete = tree()
    del incomplete[missing]
    with pytest.raises(ValidationError) as raised:
        Scenario.model_validate(incomplete)
    assert [(problem["type"], problem["loc"]) for problem in raised.value.errors()] == [
        ("missing", (missing,))
    ]


@pytest.mark.parametrize("source", ["user", "absent"])
def test_match_needs_an_item_source(source: str) -> None:
    model = {"match": "means", "knowledge_match": {"source": source}}
    with pytest.raises(ValidationError, match=f"'{source}' must be an item source"):
        Scenario.model_validate(tree(model=model))


def test_match_source_matters_only_with_match() -> None:
    model: dict[str, object] = {"match": "none", "knowledge_match": {"source": "user"}}
    assert Scenario.model_validate(tree(model=model)).model.knowledge_match.source == "user"
    model = {"match": "means", "knowledge_match": {"source": "item"}}
    assert Scenario.model_validate(tree(model=model)).model.match == "means"


@pytest.mark.parametrize(
    ("model", "sources"),
    [
        ({}, ("item", "user")),
        ({"adapter": "none"}, ()),
        ({"adapter": "none", "match": "means"}, ("item",)),
        ({"match": "ridge"}, ("item", "user")),
        ({"match": "ridge", "knowledge_match": {"source": "plot"}}, ("item", "user", "plot")),
    ],
)
def test_knowledge_sources_are_those_of_adapter_and_match(
    model: dict[str, Any], sources: tuple[str, ...]
) -> None:
    answers = {"item": ITEM_ANSWERS, "user": USER_ANSWERS, "plot": ITEM_ANSWERS}
    scenario = Scenario.model_validate(tree(model=model, knowledge={"answers": answers}))
    assert scenario.knowledge_sources() == sources


def test_augmented_vectors_have_a_known_number_format() -> None:
    with pytest.raises(ValidationError, match="float16"):
        Serving.model_validate({"augmented_dtype": "int3"})


def implicit() -> dict[str, object]:
    columns = {"rating": None}
    return {
        "interactions": {"path": "log.csv", "columns": columns},
        "catalogue": {"path": "items.csv"},
    }


def test_ridge_needs_ratings_that_differ() -> None:
    with pytest.raises(ValidationError, match="implicit feedback has none"):
        Scenario.model_validate(tree(data=implicit(), model={"match": "ridge"}))
    scenario = Scenario.model_validate(tree(data=implicit(), model={"match": "means"}))
    assert scenario.data.liked_from == 1.0
