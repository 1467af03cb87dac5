from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from configs.loading import ConfigurationError, override_scenario, scenario_from_tree
from configs.scenario import Scenario
from trainer.experiments.grid import experiment_arms

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
    found = {}
    for name, arm in experiment_arms(scenario).items():
        resolved = override_scenario(scenario, arm.overrides)
        model = resolved.model
        found[name] = (
            model.adapter,
            model.match,
            resolved.knowledge.sources if model.adapter != "none" else (),
            model.knowledge_match.sources if model.match != "none" else (),
        )
    return found


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
