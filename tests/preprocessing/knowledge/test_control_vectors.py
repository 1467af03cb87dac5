"""Random, collaborative and metadata sources, through the step `encode`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from configs.command_line import CommandError, RejectedInput
from configs.knowledge import CollaborativeVectors
from preprocessing.beam_options import BeamOptions
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from preprocessing.interactions.samples import user_folds
from preprocessing.interactions.training_log import TrainingLog
from preprocessing.knowledge.control_vectors import (
    collaborative_vectors,
    random_vectors,
    stacked_matrix,
)
from preprocessing.records.item_tables import read_item_attributes
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from tests.killing import checksums
from tests.preprocessing import shared_file_system
from tests.preprocessing.small_data import bucket_of
from tests.preprocessing.work_folder import checks, validate

_MASK = (1 << 64) - 1


def split_mix(state: int) -> int:
    """Next output of SplitMix64, in Python's own integers."""
    z = (state + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def test_random_numbers_are_those_of_an_independent_computation():
    digest = hashlib.blake2b(b"film", digest_size=8, key=b"random 7").digest()
    state = int.from_bytes(digest, "little")
    expected = []
    for _ in range(5):
        uniform = (split_mix(state) >> 11) / 2**53 + 2.0**-54
        expected.append(NormalDist().inv_cdf(uniform))
        state = (state + 0x9E3779B97F4A7C15) & _MASK
    actual = random_vectors(["film"], 5, 7)
    assert actual.dtype == np.float16
    np.testing.assert_allclose(actual[0], expected, atol=2e-3)


def test_random_numbers_are_standard_normal_and_independent():
    vectors = random_vectors([str(number) for number in range(400)], 100, 0).astype(np.float64)
    assert stats.kstest(vectors.ravel(), "norm").pvalue > 0.01
    entity_correlations = np.corrcoef(vectors)[np.triu_indices(400, 1)]
    assert abs(entity_correlations.mean()) < 0.005 and entity_correlations.std() == pytest.approx(
        0.1, abs=0.005
    )
    column_correlations = np.corrcoef(vectors.T)[np.triu_indices(100, 1)]
    assert abs(column_correlations.mean()) < 0.005


def test_a_random_vector_depends_on_seed_and_id_alone():
    alone = random_vectors(["b"], 8, 1)
    np.testing.assert_array_equal(random_vectors(["a", "b", "c"], 8, 1)[1:2], alone)
    np.testing.assert_array_equal(random_vectors(["b"], 4, 1), alone[:, :4])
    assert not np.array_equal(random_vectors(["b"], 8, 2), alone)
    assert random_vectors([], 8, 1).shape == (0, 8)


FOLDS = 10


def dense_matrix(rows: list[tuple[str, int, float]], items: int) -> np.ndarray:
    """M of the formula, user by user and item by item."""
    users = sorted({user for user, _, _ in rows})
    ratings = {
        (user, item): np.mean([r for u, i, r in rows if (u, i) == (user, item)])
        for user, item, _ in rows
    }
    mu = np.mean(list(ratings.values()))
    users_of = [sum((user, item) in ratings for user in users) for item in range(items)]
    items_of = {user: sum((user, item) in ratings for item in range(items)) for user in users}
    item_mean = [
        (sum(r for (_, i), r in ratings.items() if i == item) + 5 * mu) / (users_of[item] + 5)
        for item in range(items)
    ]
    user_mean = {
        user: sum(r - item_mean[i] for (u, i), r in ratings.items() if u == user)
        / (items_of[user] + 5)
        for user in users
    }
    used = np.zeros((len(users), items))
    rest = np.zeros((len(users), items))
    for (user, item), rating in ratings.items():
        row = users.index(user)
        used[row, item] = np.log(1 + len(users) / users_of[item]) / np.sqrt(items_of[user])
        rest[row, item] = rating - item_mean[item] - user_mean[user]
    present = sum(count > 0 for count in users_of)
    halves = [used / np.linalg.norm(used), 0.5 * rest / np.linalg.norm(rest)]
    return np.sqrt(present) * np.concatenate(halves)


def random_rows(seed: int = 0) -> list[tuple[str, int, float]]:
    random = np.random.default_rng(seed)
    rows = [
        (f"u{random.integers(30)}", int(random.integers(11)), float(random.integers(1, 6)))
        for _ in range(160)
    ]
    return sorted(rows, key=lambda row: row[0])


def log_of(rows: list[tuple[str, int, float]], items: int = 12) -> TrainingLog:
    users = sorted({user for user, _, _ in rows})
    return TrainingLog(
        users=users,
        items=[f"i{item}" for item in range(items)],
        user_of_row=np.array([users.index(user) for user, _, _ in rows], np.int32),
        item_of_row=np.array([item for _, item, _ in rows], np.int32),
        ratings=np.array([rating for _, _, rating in rows]),
    )


def made(log: TrainingLog, **settings: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(collaborative_vectors(log, CollaborativeVectors(**settings)))


@pytest.mark.parametrize("dimension", [4, 11, 20])
def test_vectors_are_those_of_a_dense_svd(dimension):
    rows = random_rows()
    actual = made(log_of(rows), dimension=dimension)
    assert len(actual) == FOLDS + 1
    for number, (vectors, good) in enumerate(actual):
        kept = [
            row for row in rows if number == 0 or bucket_of(row[0], "fold", FOLDS) != number - 1
        ]
        _, singular, right = np.linalg.svd(dense_matrix(kept, 12), full_matrices=False)
        expected = (right.T * singular)[:, :dimension]
        assert vectors.shape == (12, dimension) and vectors.dtype == np.float16
        # Components are unique up to their signs, their inner products even so.
        np.testing.assert_allclose(
            vectors.astype(float) @ vectors.T.astype(float), expected @ expected.T, atol=4e-3
        )
        width = min(dimension, 11)
        np.testing.assert_allclose(
            np.abs(vectors[:, :width]), np.abs(expected[:, :width]), atol=4e-3
        )
        assert not vectors[:, width:].any()
        assert good.tolist() == [any(item == i for _, i, _ in kept) for item in range(12)]
        assert not vectors[~good].any()


def test_the_users_of_a_fold_leave_no_trace_in_the_vectors_without_it():
    rows = random_rows()
    fold = bucket_of("u3", "fold", FOLDS)
    assert any(row[0] == "u3" for row in rows)
    other = [
        (user, (item + 5) % 12, 6 - rating) if user == "u3" else (user, item, rating)
        for user, item, rating in rows
    ]
    before, after = made(log_of(rows), dimension=5), made(log_of(other), dimension=5)
    for number, ((first, _), (second, _)) in enumerate(zip(before, after, strict=True)):
        assert (first.tobytes() == second.tobytes()) == (number == fold + 1), number


def test_ratings_alone_change_vectors_and_seeds_give_equal_bytes():
    rows = random_rows()
    higher = [(user, item, rating + (user < "u2")) for user, item, rating in rows]
    first = made(log_of(rows), dimension=5)[0][0]
    assert made(log_of(rows), dimension=5)[0][0].tobytes() == first.tobytes()
    assert made(log_of(higher), dimension=5)[0][0].tobytes() != first.tobytes()


def test_implicit_feedback_has_no_half_of_ratings():
    rows = [(user, item, 1.0) for user, item, _ in random_rows()]
    log = log_of(rows)
    matrix = stacked_matrix(log.user_of_row, log.item_of_row, log.ratings, 12)
    assert matrix.shape == (len(log.users), 12)
    assert matrix.power(2).sum() == pytest.approx(11)
    assert np.isfinite(made(log, dimension=5)[0][0]).all()


def test_a_log_without_training_interactions_gives_no_vector():
    for vectors, good in made(log_of([]), dimension=5):
        assert vectors.shape == (12, 5) and not vectors.any() and not good.any()


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


def files_of(scenario, source: str) -> dict[str, str]:
    return checksums(WorkDirectory(scenario.work_dir).knowledge(source).path)


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

    def would_skip(**changes: object) -> bool:
        scenario = small_scenario(
            work_dir=str(small_folder / "work"), knowledge__answers__rated=RATED, **changes
        )
        (plan,) = encode(scenario, sources=["rated"], dry_run=True)["sources"]
        return plan["would_skip"]

    assert would_skip()
    assert would_skip(data__history_length=7, knowledge__encoder__seed=4, data__positive_rating=3)
    catalogue = small_folder / "catalogue.csv"
    catalogue.write_text(catalogue.read_text() + "300,New,Drama,2001\n")
    assert would_skip()
    assert not would_skip(split__seed=9)
    assert not would_skip(split__knowledge_history_cap=9)
    assert not would_skip(data__filter__minimum_item_interactions=2)
    settings = manifest_of(small_scenario(work_dir=str(small_folder / "work")), "rated")["settings"]
    assert settings["split.knowledge_history_cap"] == 2
    assert settings["data.filter.minimum_item_interactions"] == 1
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
    for name, checksum in files_of(scenario, "same").items():
        if name != "manifest.json":
            assert files_of(scenario, "text")[name] == checksum
    actual = result["sources"]["text"]
    assert (actual["records_in"], actual["records_out"], actual["dead_letters"]) == (5, 5, 0)
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
