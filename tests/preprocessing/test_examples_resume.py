from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from configs.data import Data
from preprocessing import examples as examples_module
from preprocessing.examples import build_examples
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.small_data import user_answer, user_source, write_lines


def test_a_finished_step_is_skipped_until_something_changes(small_scenario, small_folder):
    first = build_examples(small_scenario())
    again = build_examples(small_scenario())
    assert not first["skipped"] and again["skipped"]
    unimportant = {"seconds", "skipped"}
    assert {key: first[key] for key in first.keys() - unimportant} == {
        key: again[key] for key in again.keys() - unimportant
    }
    assert build_examples(small_scenario(training__seed=7))["skipped"]
    assert not build_examples(small_scenario(), force=True)["skipped"]
    assert not build_examples(small_scenario(data__positive_rating=3.0))["skipped"]
    with (small_folder / "interactions.csv").open("a", encoding="utf-8") as file:
        file.write("new,1,4,1\n")
    assert build_examples(small_scenario(data__positive_rating=3.0))["records_in"] == 19
    directory = WorkDirectory(small_scenario().work_dir).examples
    directory.shards("train")[0].write_bytes(b"damaged")
    assert not build_examples(small_scenario(data__positive_rating=3.0))["skipped"]


def test_an_interrupted_run_leaves_the_old_result_and_the_next_one_finishes(
    small_scenario, small_folder, monkeypatch
):
    scenario = small_scenario()
    build_examples(scenario)
    directory = WorkDirectory(scenario.work_dir).examples
    before = directory.manifest.read_bytes()

    def fail(path: Path, features: tuple, data: Data) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(examples_module, "write_schema", fail)
        with pytest.raises(KeyboardInterrupt):
            build_examples(scenario, force=True)
    assert directory.manifest.read_bytes() == before
    assert os.listdir(scenario.work_dir) == ["examples"]

    killed = Path(scenario.work_dir) / ".examples.partial"
    killed.mkdir()
    (killed / "half").write_text("left by a killed run")
    directory.manifest.unlink()
    assert not build_examples(scenario)["skipped"]
    assert os.listdir(scenario.work_dir) == ["examples"]
    assert directory.manifest.read_bytes() == before


def test_examples_depend_on_what_prompts_show_and_on_nothing_else_of_the_answers(
    small_scenario, small_folder
):
    answers = small_folder / "users.jsonl"
    write_lines(answers, [user_answer("ann", 0, 1), user_answer("bob", 0, 1)])
    assignments = {"knowledge__answers__user": user_source(small_folder, " stars;")}

    def skipped(**more: object) -> bool:
        return build_examples(small_scenario(**assignments, **more))["skipped"]

    assert not skipped()
    manifest = json.loads(WorkDirectory(small_scenario().work_dir).examples.manifest.read_text())
    assert str(answers) not in manifest["inputs"] and set(manifest["seen_interactions"]) == {"user"}
    changed = [{**user_answer("bob", 0, 1), "answer": "likes none"}, user_answer("ann", 0, 1)]
    write_lines(answers, changed)
    assert skipped()
    write_lines(small_folder / "more.jsonl", [{"source": "more"}])
    more = {"entity": "item", "individual": [str(small_folder / "more.jsonl")]}
    assert skipped(knowledge__answers__more=more)
    assert not skipped(knowledge__answers__more={"entity": "item", "vectors": ["v.npz"]})
    assert not skipped()
    write_lines(answers, [*changed[:1], user_answer("ann", 0)])
    assert not skipped()
    write_lines(answers, [*changed[:1], {**user_answer("ann", 0), "interactions_seen": 2}])
    assert not skipped() and skipped()
    # The same number of interactions, and another one.
    write_lines(answers, [*changed[:1], {**user_answer("ann", 1), "interactions_seen": 2}])
    assert not skipped() and skipped()
    assignments["knowledge__answers__user"]["seen"] = "training"
    assert not skipped()
    assert not skipped(prompts__scenario="books")
