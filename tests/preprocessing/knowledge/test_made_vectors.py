"""Random, collaborative and metadata sources, through the step `encode`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.command_line import CommandError, RejectedInput
from preprocessing.beam_options import BeamOptions
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from preprocessing.interactions.samples import user_folds
from preprocessing.knowledge.control_vectors import random_vectors
from preprocessing.records.item_tables import read_item_attributes
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing import shared_file_system
from tests.preprocessing.inspection.validating import checks, validate

NOISE = {"entity": "item", "random": {"dimension": 6, "seed": 3}}
RATED = {"entity": "item", "collaborative": {"dimension": 5}}


def write_log(folder: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(folder / "interactions.csv", index=False)


@pytest.fixture
def log() -> pd.DataFrame:
    random = np.random.default_rng(5)
    count = 900
    frame = pd.DataFrame(
        {
            "user_id": [f"u{user}" for user in (40 * random.random(count) ** 2).astype(int)],
            "item_id": (30 * random.random(count) ** 2).astype(int),
            "rating": random.integers(1, 11, count) / 2,
            "timestamp": random.permutation(count) * 100,
        }
    )
    return frame.sort_values(["user_id", "timestamp"]).reset_index(drop=True)


def files_of(scenario, source: str) -> dict[str, bytes]:
    folder = WorkDirectory(scenario.work_dir).knowledge(source).path
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def manifest_of(scenario, source: str) -> dict:
    return json.loads(WorkDirectory(scenario.work_dir).knowledge(source).manifest.read_text())


def test_every_item_of_catalogue_and_log_has_a_random_vector(small_scenario, small_folder):
    scenario = small_scenario(knowledge__answers__noise=NOISE)
    result = encode(scenario, sources=["noise"])
    knowledge = read_knowledge(scenario.work_dir, "noise")
    in_log = {"10", "9", "100", "7", "5", "12", "11", "3", "8"}
    assert knowledge.entity_ids == sorted(in_log | {"200"})
    np.testing.assert_array_equal(knowledge.vectors, random_vectors(knowledge.entity_ids, 6, 3))
    assert set(knowledge.extraction) == {"individual"} and knowledge.fold_vectors is None
    noise = result["sources"]["noise"]
    assert (noise["records_in"], noise["records_out"], noise["dead_letters"]) == (10, 10, 0)
    assert noise["interactions"] == {
        "records_in": 18,
        "records_out": 17,
        "filtered_out": 0,
        "dead_letters": 1,
        "rejected_by_reason": {"duplicate_interaction": 1},
        # ann keeps 2 + 8 of 12, bob 2 + 2 of 4, eve 1 of 1
        "training_interactions": 15,
    }
    assert noise["catalogue"] == {
        "records_in": 5,
        "records_out": 5,
        "dead_letters": 0,
        "rejected_by_reason": {},
    }
    with np.load(Path(scenario.work_dir) / "knowledge" / "noise" / "statistics.npz") as arrays:
        assert arrays["count"] == 10
    assert encode(scenario, sources=["noise"])["skipped"]
    with pytest.raises(RejectedInput):
        encode(scenario, sources=["noise"], strict=True)

    catalogue = small_folder / "catalogue.csv"
    catalogue.write_text(catalogue.read_text() + "300,New,Drama,2001\n200,Again,,\n")
    more = encode(scenario, sources=["noise"])["sources"]["noise"]
    assert more["catalogue"]["rejected_by_reason"] == {"duplicate_item": 1}
    later = read_knowledge(scenario.work_dir, "noise")
    kept = [later.entity_ids.index(item) for item in knowledge.entity_ids]
    np.testing.assert_array_equal(later.vectors[kept], knowledge.vectors)
    assert len(later.entity_ids) == 11


def test_every_user_of_the_log_has_a_random_vector(small_scenario, small_folder):
    noise = {"entity": "user", "random": {"dimension": 4}}
    scenario = small_scenario(knowledge__answers__noise=noise)
    encode(scenario, sources=["noise"])
    knowledge = read_knowledge(scenario.work_dir, "noise")
    assert knowledge.entity_ids == ["ann", "bob", "eve"]
    assert "catalogue" not in manifest_of(scenario, "noise")["counts"]
    catalogue = small_folder / "catalogue.csv"
    catalogue.write_text(catalogue.read_text() + "300,New,Drama,2001\n")
    assert encode(scenario, sources=["noise"])["skipped"]


def test_random_vectors_are_for_those_that_the_filter_leaves(small_scenario):
    scenario = small_scenario(
        knowledge__answers__noise={"entity": "user", "random": {}},
        data__filter__minimum_user_interactions=3,
    )
    encode(scenario, sources=["noise"])
    assert read_knowledge(scenario.work_dir, "noise").entity_ids == ["ann", "bob"]
    counts = manifest_of(scenario, "noise")["counts"]["interactions"]
    assert (counts["records_in"], counts["filtered_out"], counts["dead_letters"]) == (18, 1, 1)


def collaborative(small_scenario, folder: Path, name: str, **changes: object):
    scenario = small_scenario(
        work_dir=str(folder / name), knowledge__answers__rated=RATED, **changes
    )
    encode(scenario, sources=["rated"])
    return scenario


@pytest.mark.parametrize("split_by", ["time", "user", "global_time"])
def test_items_have_vectors_where_item_statistics_count_training_interactions(
    small_scenario, small_folder, log, split_by
):
    write_log(small_folder, log)
    changes = {"split__by": split_by, "split__fractions": [0.6, 0.2, 0.2]}
    scenario = collaborative(small_scenario, small_folder, "work", **changes)
    build_examples(scenario)
    items = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    knowledge = read_knowledge(scenario.work_dir, "rated")
    counted = {item for item, n in zip(items.item_ids, items.rating_count, strict=True) if n}
    assert set(knowledge.entity_ids) == counted
    assert knowledge.fold_vectors is not None
    assert knowledge.fold_vectors.shape == (10, len(counted), 5)
    assert knowledge.fold_vectors.dtype == np.float16
    without = items.rating_count[:, np.newaxis] - items.rating_count_by_fold
    for row, item in enumerate(knowledge.entity_ids):
        has_vector = knowledge.fold_vectors[:, row].any(axis=1)
        assert has_vector.tolist() == (without[items.item_ids.index(item)] > 0).tolist()
    manifest = manifest_of(scenario, "rated")
    in_training = manifest["counts"]["interactions"]["training_interactions"]
    assert in_training == items.rating_count.sum()
    assert manifest["counts"]["entities_without_answer"] == log["item_id"].nunique() - len(counted)
    assert [fold["records"] for fold in manifest["folds"]] == (
        knowledge.fold_vectors.any(axis=2).sum(axis=1).tolist()
    )


def test_validation_and_test_interactions_have_no_influence(small_scenario, small_folder, log):
    write_log(small_folder, log)
    first = files_of(collaborative(small_scenario, small_folder, "first"), "rated")
    position = log.groupby("user_id").cumcount()
    size = log.groupby("user_id")["item_id"].transform("size")
    boundary = np.minimum((size + 1) // 2, 2)
    later = position >= boundary + (8 * (size - boundary) + 5) // 10
    assert 100 < later.sum() < 300
    changed = log.copy()
    changed.loc[later, "rating"] = 5.5 - changed.loc[later, "rating"]
    changed.loc[later, "item_id"] = (changed.loc[later, "item_id"] + 7) % 30
    write_log(small_folder, changed)
    second = files_of(collaborative(small_scenario, small_folder, "second"), "rated")
    vectors = [name for name in first if name.endswith(".tfrecord.gz")]
    assert len(vectors) == 2 * 11
    assert {name: second[name] for name in vectors} == {name: first[name] for name in vectors}


def test_a_user_has_no_influence_on_the_vectors_for_the_own_fold(small_scenario, small_folder, log):
    write_log(small_folder, log)
    first = files_of(collaborative(small_scenario, small_folder, "first"), "rated")
    (fold,) = user_folds(["u1"])
    changed = log.copy()
    changed.loc[log["user_id"] == "u1", "rating"] = 5.5 - log.loc[log["user_id"] == "u1", "rating"]
    write_log(small_folder, changed)
    second = files_of(collaborative(small_scenario, small_folder, "second"), "rated")
    for name in first:
        if name.endswith(".tfrecord.gz"):
            own = name.startswith(f"without_fold_{fold}/")
            assert (first[name] == second[name]) == own, name


def test_equal_bytes_whatever_the_order_of_rows_and_the_place_of_the_workers(
    small_scenario, small_folder, log, monkeypatch
):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(small_folder / "store"))
    write_log(small_folder, log)
    scenario = collaborative(small_scenario, small_folder, "work")
    first = files_of(scenario, "rated")
    assert encode(scenario, sources=["rated"])["skipped"]
    assert not encode(scenario, sources=["rated"], force=True)["skipped"]
    assert files_of(scenario, "rated") == first
    write_log(small_folder, log.sample(frac=1, random_state=0))
    encode(scenario, sources=["rated"])
    again = files_of(scenario, "rated")
    assert {name for name in first if again[name] != first[name]} == {"manifest.json"}
    staged = BeamOptions(staging="shared://staging")
    encode(scenario, sources=["rated"], force=True, beam=staged)
    assert files_of(scenario, "rated") == again


def test_what_makes_collaborative_vectors_anew(small_scenario, small_folder, log):
    write_log(small_folder, log)
    collaborative(small_scenario, small_folder, "work")

    def skipped(**changes: object) -> bool:
        scenario = small_scenario(
            work_dir=str(small_folder / "work"), knowledge__answers__rated=RATED, **changes
        )
        return encode(scenario, sources=["rated"])["skipped"]

    assert skipped()
    assert skipped(data__history_length=7, knowledge__encoder__seed=4, data__positive_rating=3)
    catalogue = small_folder / "catalogue.csv"
    catalogue.write_text(catalogue.read_text() + "300,New,Drama,2001\n")
    assert skipped()
    assert not skipped(split__seed=9)
    assert not skipped(split__knowledge_history_cap=9)
    assert not skipped(data__filter__minimum_item_interactions=2)
    settings = manifest_of(small_scenario(work_dir=str(small_folder / "work")), "rated")["settings"]
    assert settings["split.knowledge_history_cap"] == 2
    assert settings["data.filter.minimum_item_interactions"] == 2
    assert "data.history_length" not in settings


def test_validate_covers_the_vectors_of_the_folds(small_scenario, small_folder, log, capsys):
    write_log(small_folder, log)
    scenario = collaborative(small_scenario, small_folder, "work")
    folder = WorkDirectory(scenario.work_dir).knowledge("rated").path
    code, result, _ = validate(capsys, scenario.work_dir)
    assert (code, result["errors"]) == (0, 0)
    shard = folder / "without_fold_4" / "part-00001-of-00002.tfrecord.gz"
    content = shard.read_bytes()
    shard.write_bytes(content[:-5])
    code, result, _ = validate(capsys, folder)
    assert code == 1 and {"wrong_size", "damaged_file"} <= checks(result)
    shard.unlink()
    code, result, _ = validate(capsys, folder)
    assert code == 1 and {"missing_file", "incomplete_shards"} <= checks(result)


def test_a_log_that_leaves_nothing_is_no_source(small_scenario, small_folder):
    (small_folder / "interactions.csv").write_text("user_id,item_id,rating,timestamp\n")
    scenario = small_scenario(knowledge__answers__rated=RATED)
    with pytest.raises(CommandError, match=r"answers\.rated: the log leaves nothing"):
        encode(scenario, sources=["rated"])
    assert not WorkDirectory(scenario.work_dir).knowledge("rated").path.exists()


def test_metadata_is_encoded_as_an_individual_answer_would_be(small_scenario, small_folder, capsys):
    text = {"entity": "item", "metadata": ["title", "genres"]}
    answers = {"10": "Ten. genres: Drama, Comedy", "9": "Nine, the film. genres: Drama"}
    answers |= {"7": "Seven. genres: (no genres listed)", "100": "Hundred"}
    answers |= {"200": "Nobody saw it. genres: Comedy, Drama"}
    records = [
        {"source": "same", "entity_id": item, "extraction": "individual", "answer": answer}
        for item, answer in answers.items()
    ]
    (small_folder / "same.jsonl").write_text("\n".join(map(json.dumps, records)))
    same = {"entity": "item", "individual": [str(small_folder / "same.jsonl")]}
    scenario = small_scenario(knowledge__answers__text=text, knowledge__answers__same=same)
    result = encode(scenario, sources=["text", "same"])
    assert files_of(scenario, "text").keys() == files_of(scenario, "same").keys()
    for name, content in files_of(scenario, "same").items():
        if name != "manifest.json":
            assert files_of(scenario, "text")[name] == content
    found = result["sources"]["text"]
    assert (found["records_in"], found["records_out"], found["dead_letters"]) == (5, 5, 0)
    assert validate(capsys, scenario.work_dir)[0] == 0

    catalogue = small_folder / "catalogue.csv"
    catalogue.write_text(catalogue.read_text() + "300,,,2001\n")
    changed = encode(scenario, sources=["text"])["sources"]["text"]
    assert (changed["records_in"], changed["records_out"]) == (6, 5)
    assert changed["rejected_by_reason"] == {"no_metadata": 1}
    settings = manifest_of(scenario, "text")["settings"]
    assert settings["data.catalogue.attributes.genres.separator"] == "|"
    assert settings["knowledge.encoder.kind"] == "tfidf"
    assert not any(key.startswith("data.catalogue.attributes.year") for key in settings)


def test_a_catalogue_without_any_text_is_no_source(small_scenario, small_folder):
    (small_folder / "catalogue.csv").write_text("item_id,title,genres,year\n1,,,\n2, ,,5\n")
    scenario = small_scenario(
        knowledge__answers__text={"entity": "item", "metadata": ["title", "genres"]}
    )
    with pytest.raises(CommandError) as raised:
        encode(scenario, sources=["text"])
    assert "every answer was rejected (no_metadata 2)" in str(raised.value)
    assert "Name other attributes under 'metadata'" in str(raised.value)


@pytest.mark.parametrize(
    ("source", "inputs"),
    [
        (NOISE, {"interactions.csv", "catalogue.csv"}),
        ({"entity": "user", "random": {}}, {"interactions.csv"}),
        (RATED, {"interactions.csv"}),
        ({"entity": "item", "metadata": ["title"]}, {"catalogue.csv"}),
    ],
)
def test_a_dry_run_names_the_tables_and_writes_nothing(small_scenario, source, inputs):
    scenario = small_scenario(knowledge__answers__made=source)
    (plan,) = encode(scenario, sources=["made"], dry_run=True)["sources"]
    assert {Path(path).name for path in plan["inputs"]} == inputs
    assert not plan["would_skip"] and not Path(scenario.work_dir).exists()
