from __future__ import annotations

import pytest

from configs.command_line import RejectedInput
from configs.loading import ConfigurationError
from preprocessing.all_steps import needed_sources, run_all_steps
from preprocessing.records.layout import WorkDirectory


def test_strict_fails_only_after_all_steps(small_scenario):
    scenario = small_scenario()
    with pytest.raises(RejectedInput) as raised:
        run_all_steps(scenario, strict=True)
    result = raised.value.result
    assert (result["records_in"], result["records_out"]) == (18 + 5, 17 + 5)
    assert result["dead_letters"] == 1
    assert WorkDirectory(scenario.work_dir).knowledge("item").manifest.exists()
    assert run_all_steps(scenario)["skipped"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_missing_answer_file_stops_everything_first(small_scenario, dry_run):
    missing = {"entity": "item", "individual": ["nowhere.jsonl"]}
    scenario = small_scenario(knowledge__answers__item=missing)
    with pytest.raises(ConfigurationError, match=r"answers.item.individual: there is no file 'now"):
        run_all_steps(scenario, dry_run=dry_run)
    assert not WorkDirectory(scenario.work_dir).path.exists()


def test_an_unknown_attribute_stops_everything_first(small_scenario):
    text = {"entity": "item", "metadata": ["title", "genre"]}
    scenario = small_scenario(knowledge__answers__item=text)
    with pytest.raises(ConfigurationError, match=r"item.metadata: .* Did you mean 'genres'"):
        run_all_steps(scenario)
    assert not WorkDirectory(scenario.work_dir).path.exists()


def test_sources_of_all_arms_are_needed(small_scenario):
    scenario = small_scenario(
        knowledge__sources=["item"],
        knowledge__answers__noise={"entity": "item", "random": {}},
        knowledge__answers__text={"entity": "item", "metadata": ["title"]},
        experiment__arms={
            "none": {"overrides": {"model.adapter": "none", "model.match": "none"}},
            "control": {
                "overrides": {
                    "model.match": "means",
                    "model.knowledge_match.sources": ["noise"],
                }
            },
        },
    )
    assert needed_sources(scenario) == ["item", "noise"]
    with_axes = small_scenario(
        knowledge__sources=["item"],
        knowledge__answers__text={"entity": "item", "metadata": ["title"]},
        experiment__adapters=["none", "hein"],
        experiment__extractions={"catalogue": ["text"]},
    )
    assert needed_sources(with_axes) == ["item", "text"]


def test_all_encodes_the_controls_of_an_experiment(small_scenario):
    scenario = small_scenario(
        knowledge__answers__noise={"entity": "item", "random": {}},
        experiment__arms={"control": {"overrides": {"knowledge.sources": ["noise"]}}},
    )
    run_all_steps(scenario)
    work = WorkDirectory(scenario.work_dir)
    assert work.knowledge("item").manifest.exists() and work.knowledge("noise").manifest.exists()


def test_an_arm_that_cannot_be_is_named(small_scenario):
    arms = {"odd": {"overrides": {"knowledge.sources": ["nobody"]}}}
    with pytest.raises(ConfigurationError, match="experiment, arm 'odd': "):
        run_all_steps(small_scenario(experiment__arms=arms))
    unknown = {"x": ["nobody"]}
    with pytest.raises(ConfigurationError, match="'x' names source 'nobody', which is not descr"):
        run_all_steps(small_scenario(experiment__extractions=unknown))
