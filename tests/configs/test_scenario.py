from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from configs.loading import override_scenario
from configs.model import HybridExpert
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


def test_a_scenario_without_knowledge_is_the_baseline() -> None:
    bare = tree()
    del bare["knowledge"]
    scenario = Scenario.model_validate(bare)
    assert scenario.knowledge.sources == () and scenario.model.adapter == "none"
    assert scenario.knowledge_sources() == ()
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario
    with pytest.raises(ValidationError, match="set model.adapter=none for the model without know"):
        Scenario.model_validate(bare | {"model": {"adapter": "hein"}})
    with pytest.raises(ValidationError, match="describe it there, name another, or set model.matc"):
        Scenario.model_validate(bare | {"model": {"match": "ridge"}})


def test_sources_that_are_left_out_are_those_that_are_described() -> None:
    described = tree(knowledge={"answers": {"item": ITEM_ANSWERS}})
    scenario = Scenario.model_validate(described)
    assert scenario.knowledge.sources == ("item",) and scenario.model.adapter == "hein"


@pytest.mark.parametrize("missing", ["name", "work_dir", "data"])
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
    model = {"match": "means", "knowledge_match": {"sources": [source]}}
    with pytest.raises(ValidationError, match=f"'{source}' must be an item source"):
        Scenario.model_validate(tree(model=model))


@pytest.mark.parametrize("source", ["user", "absent"])
def test_prior_needs_an_item_source(source: str) -> None:
    described = {"knowledge_prior": {"sources": ["item", source]}}
    with pytest.raises(
        ValidationError,
        match=rf"model\.knowledge_prior\.sources: '{source}' must be an item source",
    ):
        Scenario.model_validate(tree(model={**described, "prior": True}))
    assert not Scenario.model_validate(tree(model=described)).model.prior


COLLABORATIVE: dict[str, Any] = {"entity": "item", "collaborative": {}}


def test_collaborative_vectors_are_for_knowledge_match_only() -> None:
    answers = {"item": ITEM_ANSWERS, "ratings": COLLABORATIVE}
    knowledge = {"answers": answers, "sources": ["item", "ratings"]}
    with pytest.raises(ValidationError, match=r"'ratings' holds collaborative vectors"):
        Scenario.model_validate(tree(knowledge=knowledge))
    without_adapter = {"adapter": "none", "match": "ridge"}
    assert Scenario.model_validate(tree(knowledge=knowledge, model=without_adapter))
    matched = {"match": "ridge", "knowledge_match": {"sources": ["item", "ratings"]}}
    scenario = Scenario.model_validate(
        tree(knowledge={"answers": answers, "sources": ["item"]}, model=matched)
    )
    assert scenario.knowledge_sources() == ("item", "ratings")


def test_an_adapter_that_replaces_item_ids_reads_item_sources() -> None:
    with pytest.raises(ValidationError, match="leave the user source 'user' out"):
        Scenario.model_validate(tree(model={"adapter": "replace_id"}))
    answers = {"item": ITEM_ANSWERS, "user": USER_ANSWERS}
    knowledge = {"answers": answers, "sources": ["item"]}
    scenario = Scenario.model_validate(tree(model={"adapter": "replace_id"}, knowledge=knowledge))
    assert scenario.model.adapter == "replace_id"


PLOT = {"item": ITEM_ANSWERS, "plot": ITEM_ANSWERS, "user": USER_ANSWERS}
FIELD_VALUES: list[dict[str, Any]] = [
    {"history_knowledge": True},
    {"factor_gate": True},
    {"zero_start": True},
    {"alignment_weight": 0.1},
]


def with_sources(model: dict[str, Any], sources: list[str]) -> Scenario:
    knowledge = {"answers": PLOT, "sources": sources}
    return Scenario.model_validate(tree(model=model, knowledge=knowledge))


@pytest.mark.parametrize(
    ("options", "too_few", "enough"),
    [
        ({"factor_gate": True}, ["item", "user"], ["item", "user", "plot"]),
        ({"factor_gate": True}, ["plot"], ["plot", "item"]),
        ({"history_knowledge": True}, ["user"], ["user", "item"]),
        ({"alignment_weight": 0.1}, ["user"], ["plot"]),
    ],
)
def test_options_without_the_sources_they_need_are_refused(
    options: dict[str, Any], too_few: list[str], enough: list[str]
) -> None:
    (key,) = options
    with pytest.raises(ValidationError, match=rf"model\.{key} .* leave it out"):
        with_sources(options, too_few)
    assert getattr(with_sources(options, enough).model, key) == options[key]


def test_an_arm_without_knowledge_may_keep_the_options_of_its_base() -> None:
    options = {key: value for option in FIELD_VALUES for key, value in option.items()}
    options |= {
        "standardized_knowledge": True,
        "knowledge_match": {"learned": True, "dropout_rate": 0.2, "form": "exact", "noise": 2.0},
    }
    base = with_sources(options | {"match": "ridge"}, ["item", "plot"])
    arm = override_scenario(base, {"model.adapter": "none", "model.match": "none"})
    assert (arm.model.adapter, arm.model.zero_start) == ("none", True)
    assert arm.knowledge_sources() == ()


def test_tasks_are_labels_of_the_data() -> None:
    data = {
        "interactions": {"path": "ratings.csv"},
        "catalogue": {"path": "movies.csv"},
        "labels": {"loved": {"minimum_rating": 5}},
    }
    with pytest.raises(ValidationError, match=r"'bought' is not in data\.labels \(there: loved\)"):
        Scenario.model_validate(tree(data=data, model={"tasks": {"bought": 1.0}}))
    with pytest.raises(ValidationError, match=r"\(there: none\)"):
        Scenario.model_validate(tree(model={"tasks": {"loved": 1.0}}))
    scenario = Scenario.model_validate(tree(data=data, model={"tasks": {"loved": 0.5}}))
    assert scenario.model.tasks == {"loved": 0.5}


def test_match_source_matters_only_with_match() -> None:
    model: dict[str, object] = {"match": "none", "knowledge_match": {"sources": ["user"]}}
    assert Scenario.model_validate(tree(model=model)).model.knowledge_match.sources == ("user",)
    model = {"match": "means", "knowledge_match": {"sources": ["item"]}}
    assert Scenario.model_validate(tree(model=model)).model.match == "means"


@pytest.mark.parametrize(
    ("model", "sources"),
    [
        ({}, ("item", "user")),
        ({"adapter": "none"}, ()),
        ({"adapter": "none", "match": "means"}, ("item",)),
        ({"match": "ridge"}, ("item", "user")),
        ({"match": "ridge", "knowledge_match": {"sources": "plot"}}, ("item", "user", "plot")),
        ({"prior": True, "knowledge_prior": {"sources": "plot"}}, ("item", "user", "plot")),
        (
            {
                "adapter": "none",
                "match": "means",
                "prior": True,
                "knowledge_match": {"sources": ["plot", "item"]},
            },
            ("plot", "item"),
        ),
    ],
)
def test_knowledge_sources_are_those_of_adapter_match_and_prior(
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
