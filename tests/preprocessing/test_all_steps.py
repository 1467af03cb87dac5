from __future__ import annotations

from pathlib import Path

import pytest

from configs.arms import sources_of_arms
from configs.command_line import RejectedInput
from configs.loading import ConfigurationError
from preprocessing.all_steps import run_all_steps
from preprocessing.inspection.folder_checks import validate_folders
from preprocessing.records.layout import WorkDirectory, read_settings
from tests.preprocessing.small_data import user_answer, write_lines


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
    scenario = small_scenario(
        knowledge__answers__other=missing, knowledge__sources=["item", "other"]
    )
    with pytest.raises(ConfigurationError, match=r"answers.other.individual: there is no file 'no"):
        run_all_steps(scenario, dry_run=dry_run)
    assert not WorkDirectory(scenario.work_dir).path.exists()


WAITING = {
    "item": {"entity": "item", "individual": ["nowhere/answers.jsonl"]},
    "user": {"entity": "user", "individual": ["nowhere/*.jsonl"], "history_entry_pattern": "stars"},
    "mined": {"entity": "item", "links": {"mine": ["item"]}},
    "titles": {"entity": "item", "metadata": ["title"]},
}


@pytest.mark.parametrize("answers", [WAITING, {}])
def test_without_any_answers_there_is_a_baseline(small_scenario, answers, capsys):
    scenario = small_scenario(
        knowledge__answers=answers, knowledge__sources=[*answers][:1], model__adapter="none"
    )
    result = run_all_steps(scenario)
    told = [line for line in capsys.readouterr().err.splitlines() if "baseline" in line]
    assert len(told) == 1 and "model.adapter=none" in told[0] and "'generate'" in told[0]
    examples = result["steps"][0]
    # 17 interactions of three users, of which k_u would have held back 2, 2 and 1.
    assert (examples["samples"], examples["history_only"]) == (17, 0)
    assert examples["missing_answers"] == [name for name in answers if name != "titles"]
    assert all(source in told[0] for source in examples["missing_answers"])
    assert validate_folders([Path(scenario.work_dir)], strict=False)["errors"] == 0


def test_history_is_held_back_as_soon_as_an_llm_saw_any(small_scenario, small_folder):
    answers = {name: dict(described) for name, described in WAITING.items()}
    answers["user"]["individual"] = [str(small_folder / "users.jsonl")]
    del answers["item"], answers["mined"]
    factors = {"likes": {"entity": "item", "collaborative": {"dimension": 2}}}
    scenario = small_scenario(knowledge__answers=answers | factors, knowledge__sources=["likes"],
                              model__adapter="none")  # fmt: skip
    before = run_all_steps(scenario)
    write_lines(small_folder / "users.jsonl", [user_answer("ann", 0, 1)])
    after = run_all_steps(scenario)
    assert [run["steps"][0]["history_only"] for run in (before, after)] == [0, 5]
    # Vectors of training interactions are made anew with the split: the two always agree.
    assert not after["steps"][1]["skipped"]
    work = WorkDirectory(scenario.work_dir)
    for step in (work.examples, work.knowledge("likes")):
        assert read_settings(step)["split.knowledge_history_cap"] == 2


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
    assert sources_of_arms(scenario) == ["item", "noise"]
    with_axes = small_scenario(
        knowledge__sources=["item"],
        knowledge__answers__text={"entity": "item", "metadata": ["title"]},
        experiment__adapters=["none", "hein"],
        experiment__extractions={"catalogue": ["text"]},
    )
    assert sources_of_arms(with_axes) == ["text"]


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
