from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from configs.scenario import (
    Experiment,
    HybridExpert,
    Knowledge,
    Model,
    Scenario,
    Serving,
    SourceAnswers,
    Split,
    Training,
)

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


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Training, {"epochs": 0}),
        (Training, {"batch_size": 0}),
        (Training, {"learning_rate": 0.0}),
        (Training, {"patience": -1}),
        (Training, {"epochs": "many"}),
        (Model, {"dropout_rate": 1.0}),
        (Model, {"dropout_rate": -0.1}),
        (Model, {"knowledge_dropout_rate": 1.0}),
        (Model, {"adapter": "mlp"}),
        (Model, {"match": "cosine"}),
        (Model, {"attention_history_length": 0}),
        (HybridExpert, {"num_shared_experts": -1}),
        (Split, {"by": "item"}),
        (Split, {"fractions": (0.8, 0.2)}),
        (Split, {"fractions": (0.8, 0.1, 0.2)}),
        (Split, {"fractions": (0.9, 0.1, 0.0)}),
        (Split, {"fractions": (1.2, -0.1, -0.1)}),
        (Split, {"knowledge_history_cap": -1}),
        (Serving, {"augmented_dtype": "int3"}),
        (Experiment, {"seeds": ["first"]}),
    ],
)
def test_values_out_of_range_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    with pytest.raises(ValidationError) as raised:
        section.model_validate(values)
    (key,) = values
    assert {problem["loc"][0] for problem in raised.value.errors()} == {key}


def test_fractions_may_miss_one_by_rounding() -> None:
    assert Split(fractions=(1 / 3, 1 / 3, 1 / 3)).fractions == (1 / 3, 1 / 3, 1 / 3)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("item", ("item",)),
        ("item, user", ("item", "user")),
        (["user"], ("user",)),
        ("", ()),
    ],
)
def test_sources_may_be_one_text(written: object, read: tuple[str, ...]) -> None:
    knowledge = Knowledge.model_validate(
        {"sources": written, "answers": {"item": ITEM_ANSWERS, "user": USER_ANSWERS}}
    )
    assert knowledge.sources == read


def test_a_source_without_answers_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"source 'user' is not described .*there: item"):
        Knowledge.model_validate({"answers": {"item": ITEM_ANSWERS}})


def test_collective_answers_need_groups() -> None:
    with pytest.raises(ValidationError, match="need 'groups'"):
        SourceAnswers(entity="item", collective=["groups.jsonl"])
    with pytest.raises(ValidationError, match="at least one answer file"):
        SourceAnswers(entity="item")
    accepted = SourceAnswers(entity="item", collective=["groups.jsonl"], groups="groups.csv")
    assert accepted.groups == "groups.csv"


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
