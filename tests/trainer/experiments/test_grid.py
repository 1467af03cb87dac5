from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from configs.loading import ConfigurationError
from configs.scenario import Scenario
from tests.trainer.experiments.test_arms import scenario_with
from trainer.experiments.grid import arm_scenarios, experiment_cells, kind_of_experiment

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
    assert len(experiment_cells(scenario)) == 2 * len(backbones)
    assert kind_of_experiment(scenario) == kind


@pytest.mark.parametrize(
    ("experiment", "assignments", "problem"),
    [
        ({"backbones": ["dim"]}, {}, "'dim' is unknown.*Did you mean 'din'"),
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
