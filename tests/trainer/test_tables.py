from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from configs.loading import ConfigurationError
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from tests.scenarios import (
    CITIES,
    ITEMS,
    ITEMS_OUTSIDE_CATALOGUE,
    ITEMS_WITH_ANSWER,
    ITEMS_WITH_GROUP,
    KNOWLEDGE_ONLY_ITEMS,
    USERS_WITH_ANSWER,
    copied_scenario,
    rich_scenario,
    tiny_scenario,
)
from trainer.tables import data_fingerprint, read_model_tables


def test_catalogue_holds_rated_items_and_then_items_with_knowledge_only() -> None:
    catalogue = read_model_tables(tiny_scenario()).catalogue
    assert list(catalogue.item_ids) == [*sorted(ITEMS), *KNOWLEDGE_ONLY_ITEMS]
    new = slice(len(ITEMS), None)
    assert catalogue.categorical["genres"].values[new] == [[], []]
    assert np.isnan(catalogue.numeric["year"][new]).all()
    assert not catalogue.rating_count_by_fold[new].any()
    assert not catalogue.rating_sum_by_fold[new].any()
    assert not set(KNOWLEDGE_ONLY_ITEMS) & set(catalogue.trained_item_ids)


def test_attributes_are_those_of_the_catalogue_file() -> None:
    scenario = tiny_scenario()
    catalogue = read_model_tables(scenario).catalogue
    lines = Path(scenario.data.catalogue.path).read_text(encoding="utf-8").splitlines()[1:]
    rows = {item: row for row, item in enumerate(catalogue.item_ids)}
    for line in lines:
        item, _, genres, year = line.split(",")
        assert sorted(catalogue.categorical["genres"].values[rows[item]]) == sorted(
            genres.split("|")
        )
        expected_year = float(year) if year else np.nan
        np.testing.assert_equal(catalogue.numeric["year"][rows[item]], expected_year)
    for item in ITEMS_OUTSIDE_CATALOGUE:
        assert catalogue.categorical["genres"].values[rows[item]] == []
        assert catalogue.rating_count_by_fold[rows[item]].sum() > 0


def test_knowledge_of_every_source_that_the_model_reads() -> None:
    knowledge = read_model_tables(tiny_scenario()).knowledge
    assert set(knowledge) == {"item", "user"}
    item = dict(zip(knowledge["item"].entity_ids, knowledge["item"].extraction, strict=True))
    individual = dict.fromkeys([*ITEMS_WITH_ANSWER, KNOWLEDGE_ONLY_ITEMS[0]], "individual")
    collective = dict.fromkeys([*ITEMS_WITH_GROUP, KNOWLEDGE_ONLY_ITEMS[1]], "collective")
    assert item == individual | collective
    assert set(knowledge["user"].entity_ids) == set(USERS_WITH_ANSWER)


def test_without_an_item_source_no_item_is_added() -> None:
    tables = read_model_tables(tiny_scenario(knowledge__sources=["user"]))
    assert set(tables.knowledge) == {"user"}
    assert list(tables.catalogue.item_ids) == sorted(ITEMS)


def test_profiles_have_their_vocabularies() -> None:
    scenario = rich_scenario()
    profiles = read_model_tables(scenario).profiles
    vocabulary = (Path(scenario.work_dir) / "examples/vocabularies/profile_city.txt").read_text()
    assert {name: each.kind for name, each in profiles.items()} == {
        "city": "categorical",
        "age": "numeric",
    }
    assert list(profiles["city"].vocabulary) == vocabulary.split()
    assert set(profiles["city"].vocabulary) == set(CITIES)
    assert list(profiles["age"].vocabulary) == []


@pytest.mark.parametrize("scenario", [tiny_scenario, rich_scenario])
def test_profiles_that_are_no_inputs_are_left_out(scenario) -> None:
    assert read_model_tables(scenario(model__user_profile=False)).profiles == {}
    assert read_model_tables(tiny_scenario()).profiles == {}


def test_fingerprint_is_the_hash_of_each_manifest(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    work = WorkDirectory(scenario.work_dir)
    before = data_fingerprint(scenario)
    assert before == {
        "examples": hashlib.sha256(work.examples.manifest.read_bytes()).hexdigest(),
        "knowledge/item": hashlib.sha256(work.knowledge("item").manifest.read_bytes()).hexdigest(),
        "knowledge/user": hashlib.sha256(work.knowledge("user").manifest.read_bytes()).hexdigest(),
    }
    manifest = work.knowledge("user").manifest
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "config_hash": "other"}))
    after = data_fingerprint(scenario)
    assert {step for step in before if before[step] != after[step]} == {"knowledge/user"}


def test_fingerprint_covers_only_what_the_model_reads() -> None:
    prior = tiny_scenario(model__adapter="none", model__prior=True)
    assert set(data_fingerprint(prior)) == {"examples", "knowledge/item"}
    assert set(data_fingerprint(tiny_scenario(model__adapter="none"))) == {"examples"}
    match_alone = tiny_scenario(
        model__adapter="none", model__match="ridge", knowledge__sources=["user"]
    )
    assert set(data_fingerprint(match_alone)) == {"examples", "knowledge/item"}


def test_a_missing_step_says_what_to_run(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path)
    work = WorkDirectory(scenario.work_dir)
    shutil.rmtree(work.knowledge("user").path)
    without = r"knowledge of user, .*model.adapter=none\), or get .*'python -m preprocessing all'"
    with pytest.raises(ConfigurationError, match=without):
        read_model_tables(scenario)
    with pytest.raises(FileNotFoundError, match="knowledge/user.*run 'python -m preprocessing all"):
        data_fingerprint(scenario)
    shutil.rmtree(work.examples.path)
    with pytest.raises(DamagedRecords, match="examples.*run 'python -m preprocessing"):
        read_model_tables(scenario)


def test_samples_that_nothing_was_held_back_from_are_for_models_no_prompt_taught(
    tmp_path: Path,
) -> None:
    baseline = copied_scenario(tmp_path, model__adapter="none")
    manifest = WorkDirectory(baseline.work_dir).examples.manifest
    built = json.loads(manifest.read_text())
    built["settings"]["split.knowledge_history_cap"] = 0
    manifest.write_text(json.dumps(built))
    assert read_model_tables(baseline).knowledge == {}
    with pytest.raises(ConfigurationError, match="knowledge_history_cap: 10 is asked for.*with 0"):
        read_model_tables(tiny_scenario(work_dir=baseline.work_dir))


def test_settings_that_contradict_the_data_are_refused() -> None:
    other = tiny_scenario(split__by="user", data__positive_rating=2)
    with pytest.raises(ConfigurationError) as raised:
        read_model_tables(other)
    lines = str(raised.value).splitlines()
    examples = WorkDirectory(other.work_dir).examples.path
    assert lines[1:3] == [
        f"  data.positive_rating: 2.0 is asked for, but {examples} was built with 4.0",
        f"  split.by: user is asked for, but {examples} was built with time",
    ]
    assert "python -m preprocessing all" in lines[3] and "another work_dir" in lines[3]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("data__history_length", 7, "data.history_length: 7 .*built with 200"),
        ("split__fractions", [0.6, 0.2, 0.2], r"split.fractions: \[0.6.*with \[0.8, 0.1, 0.1\]"),
        ("knowledge__encoder__dimension", 5, "encoder.dimension: 5 .*/item was built with 12"),
        ("knowledge__answers__item__collective", [], "item.collective: no file .*with 1 file"),
        ("knowledge__answers__user__history_entry_pattern", None, "pattern: null .*with  stars;"),
    ],
)
def test_each_setting_of_the_data_is_compared(key: str, value: object, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read_model_tables(tiny_scenario(**{key: value}))


def test_settings_of_data_that_the_model_does_not_read_may_differ() -> None:
    without = tiny_scenario(model__adapter="none", knowledge__encoder__dimension=5)
    assert read_model_tables(without).knowledge == {}


LOVED_FROM_3 = {"loved": {"minimum_rating": 3}}
LIKES_MATCH = {"model__match": "means", "model__knowledge_match__sources": ["likes"]}


@pytest.mark.parametrize(
    "unread",
    [
        {"data__examples": ["ctr"]},
        {"data__examples": ["retrieval", "ctr"], "data__rerank__window": 2},
        {"data__labels": {}},
        {"data__labels": LOVED_FROM_3},
        {"data__labels": {"seen": {"column": "seen"}}, **LIKES_MATCH},
    ],
)
def test_data_may_hold_more_than_the_model_reads(unread: dict[str, object]) -> None:
    assert "item" in read_model_tables(rich_scenario(**unread)).knowledge


@pytest.mark.parametrize(
    ("scenario", "asked", "problem"),
    [
        (
            tiny_scenario,
            {"data__examples": ["ctr", "rerank"]},
            r'data.examples: \["ctr", "rerank"\] is asked for, but .* built with \["ctr"\]',
        ),
        (rich_scenario, {"data__rerank__window": 2}, "data.rerank.window: 2 .* built with 4"),
        (
            rich_scenario,
            {"data__labels": LOVED_FROM_3, "model__tasks": {"loved": 1}},
            "data.labels.loved.minimum_rating: 3.0 is asked for, but .* built with 4.5",
        ),
        (
            tiny_scenario,
            {"data__labels": LOVED_FROM_3, "model__tasks": {"loved": 1}},
            "data.labels.loved.minimum_rating: 3.0 is asked for, but .* built with null",
        ),
    ],
)
def test_what_the_model_reads_must_be_there(scenario, asked, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read_model_tables(scenario(**asked))


def test_vectors_made_from_the_log_have_the_labels_of_the_examples(tmp_path: Path) -> None:
    work = WorkDirectory(str(tmp_path / "work"))
    shutil.copytree(
        rich_scenario().work_dir, tmp_path / "work", ignore=shutil.ignore_patterns("runs", "export")
    )
    scenario = rich_scenario(work_dir=str(tmp_path / "work"), **LIKES_MATCH)
    manifest = work.knowledge("likes").manifest
    built = json.loads(manifest.read_text())
    built["settings"]["data.labels.loved.minimum_rating"] = 2.0
    manifest.write_text(json.dumps(built))
    with pytest.raises(ConfigurationError, match="loved.minimum_rating: 4.5 .*likes was .* 2.0"):
        read_model_tables(scenario)


def test_input_files_may_lie_elsewhere() -> None:
    moved = tiny_scenario(
        data__interactions__path="gone.csv", knowledge__answers__item__individual=["gone.jsonl"]
    )
    assert set(read_model_tables(moved).knowledge) == {"item", "user"}
