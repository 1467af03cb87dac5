from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from configs.command_line import CommandError
from configs.loading import (
    ConfigurationError,
    override_scenario,
    save_scenario,
    scenario_from_tree,
)
from configs.scenario import Scenario
from tests.scenarios import copied_scenario, tiny_scenario
from trainer.evaluation.runs import kind_of
from trainer.examples import ExampleStore
from trainer.experiments.grid import (
    arm_scenarios,
    experiment_arms,
    experiment_cells,
    experiment_folder,
    require_ready,
)

TREE: dict[str, Any] = {
    "name": "arms",
    "work_dir": "out/arms",
    "data": {
        "interactions": {"path": "ratings.csv"},
        "catalogue": {"path": "films.csv"},
    },
    "knowledge": {
        "answers": {
            "item": {"entity": "item", "individual": ["items.jsonl"]},
            "user": {"entity": "user", "individual": ["users.jsonl"]},
            "item_group": {"entity": "item", "random": {}},
            "user_group": {"entity": "user", "random": {}},
        }
    },
}
EXTRACTIONS = {"individual": ["item", "user"], "collective": ["item_group", "user_group"]}


def scenario_with(experiment: Mapping[str, object], **assignments: object) -> Scenario:
    keys = {key.replace("__", "."): value for key, value in assignments.items()}
    return scenario_from_tree({**TREE, "experiment": experiment}, keys)


def settings_of(scenario: Scenario) -> dict[str, tuple[object, ...]]:
    """Arm -> adapter, match, sources of the adapter, sources of the match."""
    collected = {}
    for name, arm in experiment_arms(scenario).items():
        resolved = override_scenario(scenario, arm.overrides)
        model = resolved.model
        collected[name] = (
            model.adapter,
            model.match,
            resolved.knowledge.sources if model.adapter != "none" else (),
            model.knowledge_match.sources if model.match != "none" else (),
        )
    return collected


def test_axes_make_arms_and_extractions_name_sources() -> None:
    scenario = scenario_with(
        {
            "adapters": ["none", "hein"],
            "matches": ["none", "ridge"],
            "extractions": EXTRACTIONS,
        }
    )
    assert settings_of(scenario) == {
        "none": ("none", "none", (), ()),
        "ridge_individual": ("none", "ridge", (), ("item",)),
        "ridge_collective": ("none", "ridge", (), ("item_group",)),
        "hein_individual": ("hein", "none", ("item", "user"), ()),
        "hein_collective": ("hein", "none", ("item_group", "user_group"), ()),
        "hein_ridge_individual": ("hein", "ridge", ("item", "user"), ("item",)),
        "hein_ridge_collective": ("hein", "ridge", ("item_group", "user_group"), ("item_group",)),
    }


def test_an_axis_that_is_left_out_is_as_the_model_has_it() -> None:
    adapters = scenario_with(
        {"adapters": ["none", "linear", "hein"], "baseline": "means"}, model__match="means"
    )
    assert settings_of(adapters) == {
        "means": ("none", "means", (), ("item",)),
        "linear_means": ("linear", "means", ("item", "user"), ("item",)),
        "hein_means": ("hein", "means", ("item", "user"), ("item",)),
    }
    extractions = scenario_with(
        {"extractions": EXTRACTIONS, "arms": {"none": {"overrides": {"model.adapter": "none"}}}}
    )
    assert list(settings_of(extractions)) == ["hein_individual", "hein_collective", "none"]


def test_arms_written_out_stand_beside_those_of_the_axes() -> None:
    scenario = scenario_with(
        {
            "adapters": ["none", "hein"],
            "arms": {
                "none": {
                    "description": "The backbone alone.",
                    "overrides": {"model.adapter": "none", "model.match": "none"},
                },
                "wide": {"overrides": {"model.hein.num_shared_experts": 5}},
            },
        }
    )
    arms = experiment_arms(scenario)
    assert list(arms) == ["none", "hein", "wide"]
    assert arms["none"].description == "The backbone alone."


@pytest.mark.parametrize(
    ("experiment", "problem"),
    [
        ({}, "has no arm"),
        ({"adapters": ["hein"]}, "needs an arm called 'none'.*there are hein"),
        (
            {"adapters": ["none", "hein"], "baseline": "plain"},
            r"needs an arm called 'plain' \(experiment.baseline\)",
        ),
        (
            {"adapters": ["none", "hein"], "extractions": {"odd": ["items"]}},
            "'odd' names source 'items', which is not described",
        ),
        (
            {"matches": ["none", "ridge"], "extractions": {"users": ["user"]}},
            "'users' has no item source, which match 'ridge' compares",
        ),
        (
            {"adapters": ["none"], "arms": {"none": {"overrides": {"model.adapter": "hein"}}}},
            "'none' is also the name of an arm of experiment.adapters",
        ),
        (
            {
                "adapters": ["none", "hein"],
                "arms": {"same": {"overrides": {"model.hein.dropout_rate": 0.0}}},
            },
            "'hein' and 'same' of the experiment are the same model",
        ),
        (
            {
                "adapters": ["none", "hein"],
                "arms": {
                    "plain": {"overrides": {"model.adapter": "none", "knowledge.sources": ["item"]}}
                },
            },
            "'none' and 'plain' of the experiment are the same model",
        ),
        (
            {
                "adapters": ["none", "hein"],
                "arms": {
                    "plain": {
                        "overrides": {"model.adapter": "none", "model.hein.dropout_rate": 0.3}
                    }
                },
            },
            r"arm 'plain': model\.hein\.dropout_rate has no effect with model\.adapter=none",
        ),
        (
            {"adapters": ["none"], "arms": {"late": {"overrides": {"training.seed": 3}}}},
            "'late' sets training.seed, but the experiment sets it for every seed",
        ),
        (
            {"adapters": ["none"], "arms": {"x": {"overrides": {"experiment.seeds": [3]}}}},
            "'x' sets experiment.seeds, but an arm is part of the experiment",
        ),
        (
            {"adapters": ["none"], "arms": {"x": {"overrides": {"model.adaptor": "hein"}}}},
            "Did you mean 'model.adapter'",
        ),
    ],
)
def test_experiments_that_make_no_sense_are_refused(
    experiment: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        experiment_arms(scenario_with(experiment))


def test_arms_that_differ_in_an_option_with_effect_are_different() -> None:
    scenario = scenario_with(
        {
            "adapters": ["none"],
            "matches": ["none", "ridge"],
            "arms": {
                "prior": {"overrides": {"model.adapter": "none", "model.prior": True}},
                "noisy": {
                    "overrides": {
                        "model.adapter": "none",
                        "model.match": "ridge",
                        "model.knowledge_match.noise": 3.0,
                    }
                },
                "slower": {"overrides": {"model.adapter": "none", "training.learning_rate": 1e-4}},
            },
        }
    )
    assert list(experiment_arms(scenario)) == ["none", "ridge", "prior", "noisy", "slower"]


ALL_KINDS = {"data__examples": ["ctr", "rerank", "retrieval"]}


def with_arms(experiment: Mapping[str, object], **assignments: object) -> Scenario:
    return scenario_with({"adapters": ["none", "hein"], **experiment}, **assignments)


def test_there_is_a_cell_for_every_backbone_and_arm() -> None:
    scenario = with_arms({"backbones": ["din", "dcnv2"], "seeds": [3, 5]}, run_dir="out/elsewhere")
    cells = experiment_cells(scenario)
    assert [cell.name for cell in cells] == ["din_none", "dcnv2_none", "din_hein", "dcnv2_hein"]
    for cell in cells:
        assert cell.scenario.model.backbone == cell.backbone
        assert cell.scenario.model.adapter == cell.arm
        assert cell.scenario.run_dir is None
    run = cells[3].run(Path("runs"), 5, {"training.learning_rate": 0.02})
    assert (run.training.seed, run.training.learning_rate) == (5, 0.02)
    assert run.run_dir == "runs/dcnv2_hein_seed5"
    assert run.model == cells[3].scenario.model


@pytest.mark.parametrize("kind", ["rerank", "retrieval"])
def test_an_experiment_may_be_of_any_kind(kind: str) -> None:
    backbones = {"rerank": ["prm", "dlcm"], "retrieval": ["two_tower"]}[kind]
    scenario = with_arms({"backbones": backbones}, **ALL_KINDS)
    cells = experiment_cells(scenario)
    assert len(cells) == 2 * len(backbones)
    assert {kind_of(cell.scenario) for cell in cells} == {kind}


@pytest.mark.parametrize(
    ("experiment", "assignments", "problem"),
    [
        ({"backbones": ["dim"]}, {}, "'dim'.*Did you mean 'din'"),
        (
            {"backbones": ["din", "prm", "dcn"]},
            ALL_KINDS,
            r"are of different kinds.*\(ctr: din, dcn; rerank: prm\)",
        ),
        ({"backbones": ["prm"]}, {}, "trained on 'rerank' examples, and data.examples has ctr"),
        (
            {"backbones": ["two_tower"], "matches": ["none", "ridge"]},
            ALL_KINDS,
            "arm 'ridge' of 'two_tower': a retrieval model keeps candidate and history apart",
        ),
        (
            {"backbones": ["prm"]},
            {**ALL_KINDS, "training__selection": "gauc"},
            "arm 'none' of 'prm': training.selection is for ranking models",
        ),
        (
            {"backbones": ["prm"]},
            {
                **ALL_KINDS,
                "data__labels": {"loved": {"minimum_rating": 5}},
                "model__tasks": {"loved": 1},
            },
            "arm 'none' of 'prm': model.tasks is for ranking models",
        ),
        (
            {"adapters": ["none", "replace_id"]},
            {},
            "arm 'replace_id': .*leave the user source 'user' out",
        ),
    ],
)
def test_impossible_cells_are_refused(
    experiment: dict[str, object], assignments: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        experiment_cells(with_arms(experiment, **assignments))


@pytest.mark.parametrize(
    ("space", "problem"),
    [
        ({}, "there is nothing to search"),
        ({"training.epochs": {"low": 1, "high": 9}}, "trained for the same number of epochs"),
        ({"training.seed": {"low": 1, "high": 9}}, "the experiment sets it for every seed"),
        (
            {"model.adapter": {"choices": ["hein", "moe"]}},
            "arm 'none' of 'din': 'model.adapter' cannot be searched: the arm 'none' sets it",
        ),
        ({"model.dropout_rat": {"low": 0, "high": 0.5}}, "Did you mean 'model.dropout_rate'"),
    ],
)
def test_spaces_that_an_arm_cannot_search_are_refused(
    space: dict[str, object], problem: str
) -> None:
    scenario = with_arms({"tuning": {"trials": 2, "space": space}})
    with pytest.raises(ConfigurationError, match=f"experiment.tuning.space, .*{problem}"):
        experiment_cells(scenario)


def test_a_baseline_is_searched_by_what_no_arm_sets() -> None:
    epochs = {"training.epochs": {"low": 1, "high": 9}}
    assert len(experiment_cells(with_arms({"tune_baseline": {"trials": 2, "space": epochs}}))) == 4
    rate = {"training.learning_rate": {"low": 0.001, "high": 0.01}}
    arms = {"fast": {"overrides": {"model.adapter": "hein", "training.learning_rate": 0.1}}}
    search = {"trials": 2, "space": rate}
    with pytest.raises(ConfigurationError, match="tune_baseline.space, .*the arm 'fast' sets it"):
        experiment_cells(with_arms({"tune_baseline": search, "arms": arms}))


def test_a_space_without_trials_is_for_the_other_command() -> None:
    scenario = with_arms({"tuning": {"space": {"training.epochs": {"low": 1, "high": 9}}}})
    assert len(experiment_cells(scenario)) == 4


def test_arms_are_resolved_with_their_overrides() -> None:
    arms = arm_scenarios(
        with_arms({"arms": {"item_only": {"overrides": {"knowledge.sources": ["item"]}}}})
    )
    assert {name: arm.knowledge_sources() for name, arm in arms.items()} == {
        "none": (),
        "hein": ("item", "user"),
        "item_only": ("item",),
    }


def test_cells_over_data_that_is_there_are_ready() -> None:
    scenario = tiny_scenario(experiment__backbones=["din"])
    require_ready(experiment_cells(scenario), ExampleStore())


def test_knowledge_that_was_not_encoded_is_named_with_the_command(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    shutil.rmtree(Path(scenario.work_dir) / "knowledge" / "user")
    cells = experiment_cells(scenario)
    with pytest.raises(
        CommandError, match=r"no knowledge vectors of 'user' \(arms hein_match\)"
    ) as e:
        require_ready(cells, ExampleStore())
    assert "python -m preprocessing encode --config FILE.yaml --source user" in str(e.value)


def test_data_built_with_other_settings_is_noticed() -> None:
    cells = experiment_cells(tiny_scenario(data__positive_rating=3.0))
    with pytest.raises(ConfigurationError, match="data.positive_rating"):
        require_ready(cells, ExampleStore())


def test_a_model_that_cannot_be_built_is_named_with_its_cell() -> None:
    scenario = tiny_scenario(
        experiment__backbones=["bst"], model__backbone_options={"num_heads": 3}
    )
    cells = experiment_cells(scenario)
    with pytest.raises(ConfigurationError, match="arm 'none' of 'bst': the model cannot be built"):
        require_ready(cells, ExampleStore())


def test_an_empty_work_directory_needs_all_of_preprocessing(tmp_path: Path) -> None:
    cells = experiment_cells(tiny_scenario(work_dir=str(tmp_path / "empty")))
    with pytest.raises(CommandError, match="run 'python -m preprocessing all' first"):
        require_ready(cells, ExampleStore())


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("movielens_small_grid", "movielens_small_grid"),
        ("<b>films & more</b>", "b-films-more-b-"),
        ("../../etc", "etc"),
        ("..", "experiment"),
        ("电影 café", "电影-café"),
    ],
)
def test_the_folder_is_named_after_the_scenario(name: str, folder: str) -> None:
    scenario = override_scenario(scenario_with({}), {"name": name})
    assert experiment_folder(scenario) == Path("out/arms/experiments") / folder


def test_experiments_of_two_names_have_no_folder_in_common(tmp_path: Path) -> None:
    first, second = (
        override_scenario(scenario_with({}), {"name": name, "work_dir": str(tmp_path)})
        for name in ("movies v1", "movies/v1")
    )
    folder = experiment_folder(first)
    folder.mkdir(parents=True)
    save_scenario(first, folder / "experiment.yaml")
    assert experiment_folder(first) == folder
    with pytest.raises(CommandError, match="holds the experiment 'movies v1', and this one is"):
        experiment_folder(second)
