from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest

from configs.loading import ConfigurationError, load_scenario, scenario_from_tree
from configs.model import Model
from configs.scenario import Scenario
from configs.section import NamesRun
from trainer.run_identity import default_run_folder

TREE: dict[str, Any] = {
    "name": "named",
    "work_dir": "out/named",
    "data": {
        "interactions": {"path": "ratings.csv"},
        "catalogue": {"path": "films.csv"},
        "labels": {"loved": {"minimum_rating": 5}, "finished": {"column": "finished"}},
    },
    "knowledge": {
        "answers": {
            "item": {"entity": "item", "individual": ["items.jsonl"]},
            "other": {"entity": "item", "random": {"dimension": 4}},
            "user": {"entity": "user", "individual": ["users.jsonl"]},
        }
    },
}
PROFILES = {"path": "users.csv", "attributes": {"city": {"kind": "categorical"}}}
RIDGE = {"model.match": "ridge"}
TWO_ITEM_SOURCES = {"knowledge.sources": ["item", "other"]}


def scenario_with(assignments: Mapping[str, object]) -> Scenario:
    return scenario_from_tree(TREE, assignments)


def name_of(assignments: Mapping[str, object]) -> str:
    folder = default_run_folder(scenario_with(assignments)).path
    assert folder.parent == Path("out/named/runs")
    return folder.name


@pytest.mark.parametrize(
    ("assignments", "name"),
    [
        ({}, "din_hein-item-user"),
        (RIDGE, "din_hein-item-user_ridge"),
        ({**RIDGE, "knowledge.sources": ["item"]}, "din_hein-item_ridge"),
        ({"model.backbone": "dcnv2", "model.adapter": "none"}, "dcnv2_none"),
        ({"model.backbone_options": {"gru": "AUGRU"}}, "din-gru-AUGRU_hein-item-user"),
        ({"model.backbone_options": {"b": 2, "a": [1, 2]}}, "din-a-1-2-b-2_hein-item-user"),
        ({"model.backbone_options": {"num_a": -1}}, "din-num_a--1_hein-item-user"),
        (
            {"model.backbone_options": {"path": "../a b/c:d"}},
            "din-path-..-a-b-c-d_hein-item-user",
        ),
        ({"model.prior": True}, "din_hein-item-user_prior"),
        (
            {
                "model.prior": True,
                "model.knowledge_prior": {"sources": ["other"], "length_scale": 0.2},
            },
            "din_hein-item-user_prior-other-length_scale-0.2",
        ),
        ({"model.tasks": {"loved": 1, "finished": 1}}, "din_hein-item-user_tasks-loved-finished"),
        (
            {"model.tasks": {"loved": 0.5, "finished": 1}},
            "din_hein-item-user_tasks-loved-0.5-finished",
        ),
        ({"model.history_knowledge": True}, "din_hein-item-user_historyknowledge"),
        (
            {"model.factor_gate": True, "model.zero_start": True, **TWO_ITEM_SOURCES},
            "din_hein-item-other_factorgate_zerostart",
        ),
        ({"model.standardized_knowledge": True}, "din_hein-item-user_standardized"),
        ({"model.alignment_weight": 0.1}, "din_hein-item-user_alignment-0.1"),
        ({"model.initializer": "published"}, "din_hein-item-user_published"),
        ({"data.profiles": PROFILES}, "din_hein-item-user"),
        (
            {"data.profiles": PROFILES, "model.user_profile": False},
            "din_hein-item-user_noprofile",
        ),
        ({"model.embedding_dimension": 16}, "din_hein-item-user_embedding_dimension-16"),
        (
            {"model.top_units": [64, 8], "model.dropout_rate": 0},
            "din_hein-item-user_dropout_rate-0.0_top_units-64-8",
        ),
        (
            {"model.hein.num_shared_experts": 3},
            "din_hein-item-user_hein.num_shared_experts-3",
        ),
    ],
)
def test_the_folder_names_the_model(assignments: dict[str, object], name: str) -> None:
    assert name_of(assignments) == f"{name}_seed1"
    assert name_of({**assignments, "training.seed": 4}) == f"{name}_seed4"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"sources": ["item", "other"]}, "ridge-item-other"),
        ({"form": "exact"}, "ridge-exact"),
        ({"form": "exact", "dimension": 8}, "ridge-exact"),
        ({"dimension": 8}, "ridge-dimension-8"),
        ({"learned": True, "dropout_rate": 0.2}, "ridge-learned-dropout_rate-0.2"),
        ({"length_scale": 0.4, "bias": 2}, "ridge-bias-2.0-length_scale-0.4"),
        ({"noise": 1e-5, "history_length": 50}, "ridge-history_length-50-noise-1e-05"),
    ],
)
def test_options_of_match_are_named_where_there_is_a_match(
    options: dict[str, object], part: str
) -> None:
    section = {"model.knowledge_match": options}
    assert name_of({**RIDGE, **section}) == f"din_hein-item-user_{part}_seed1"
    assert name_of(section) == "din_hein-item-user_seed1"


@pytest.mark.parametrize(
    "ignored",
    [
        {
            "model.adapter": "none",
            "model.history_knowledge": True,
            "model.factor_gate": True,
            "model.zero_start": True,
            "model.alignment_weight": 0.5,
            "model.standardized_knowledge": True,
            "model.knowledge_dropout_rate": 0.5,
            "model.hein.num_shared_experts": 3,
        },
        {"model.adapter": "none", "model.knowledge_prior.folds": 9},
        {"model.adapter": "none", "training.list_loss": "listwise"},
        {"model.adapter": "none", "model.user_profile": False},
    ],
)
def test_options_without_effect_leave_the_baseline_its_name(ignored: dict[str, object]) -> None:
    assert name_of(ignored) == "din_none_seed1"


def test_options_of_other_adapters_are_not_named() -> None:
    changed: dict[str, object] = {"model.hein.dropout_rate": 0.3, "model.moe.num_experts": 3}
    assert name_of(changed) == "din_hein-item-user_hein.dropout_rate-0.3_seed1"
    moe = {**changed, "model.adapter": "moe"}
    assert name_of(moe) == "din_moe-item-user_moe.num_experts-3_seed1"
    replaced = {"model.adapter": "replace_id", "knowledge.sources": ["item"], **changed}
    replaced["model.knowledge_dropout_rate"] = 0.5
    assert name_of(replaced) == "din_replace_id-item_seed1"
    replaced["model.standardized_knowledge"] = True
    assert name_of(replaced) == "din_replace_id-item_standardized_seed1"


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("prm", "prm_none_listwise_seed1"),
        ("din", "din_none_seed1"),
        ("two_tower", "two_tower_none_seed1"),
    ],
)
def test_the_loss_of_lists_is_named_for_rerankers(backbone: str, name: str) -> None:
    listwise: dict[str, object] = {"model.adapter": "none", "training.list_loss": "listwise"}
    assert name_of({**listwise, "model.backbone": backbone}) == name


def test_an_unknown_backbone_is_the_users_mistake() -> None:
    with pytest.raises(ConfigurationError, match=r"'prn'.*Did you mean 'prm'"):
        name_of({"model.backbone": "prn", "training.list_loss": "listwise"})


@pytest.mark.parametrize("key", ["model.backbone_options", "model.moe.expert_units"])
def test_long_options_become_a_hash_that_tells_them_apart(key: str) -> None:
    def name(number: int) -> str:
        units = [number] * 30
        value = units if "units" in key else {"units": units, "kind": "wide"}
        return name_of({key: value, "model.adapter": "moe"})

    assert name(7) == name(7) != name(8)
    assert all(len(name(number)) < 50 for number in (7, 8))


def test_runs_of_the_bundled_scenario_keep_their_names(repository_root: Path) -> None:
    def name(*overrides: str) -> str:
        config = repository_root / "configs/movielens_small.yaml"
        return default_run_folder(load_scenario(config, overrides)).path.name

    assert name() == "din_none_ridge-links-title_genres_prior-links_seed1"
    prose = ["model.adapter=hein", "knowledge.sources=[item]", "model.prior=false"]
    assert name(*prose, "model.knowledge_match.sources=[item]") == "din_hein-item_ridge_seed1"


def test_a_new_option_is_named_as_its_field_says() -> None:
    class Wide(Model):
        twice: Annotated[bool, NamesRun("twice")] = False
        width: int = 1

    class WideScenario(Scenario):
        model: Wide = Wide()

    tree = {**TREE, "model": {"twice": True, "width": 3, "dropout_rate": 0.5}}
    folder = default_run_folder(WideScenario.model_validate(tree)).path
    assert folder.name == "din_hein-item-user_twice_dropout_rate-0.5_width-3_seed1"


def test_run_dir_wins() -> None:
    scenario = scenario_with({"run_dir": "runs/mine"})
    assert default_run_folder(scenario).path == Path("runs/mine")
