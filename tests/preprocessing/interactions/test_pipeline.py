from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing.beam_options import BeamOptions
from preprocessing.examples import build_examples
from preprocessing.records.contract import features_of
from preprocessing.records.item_tables import read_item_attributes, read_vocabulary
from preprocessing.records.layout import ExamplesDirectory, WorkDirectory
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import decode_example
from tests.killing import checksums
from tests.preprocessing import shared_file_system

PARTS = ("train", "validation", "test")
HOUR = 3600


def directory_of(scenario: Scenario) -> ExamplesDirectory:
    return WorkDirectory(scenario.work_dir).examples


def read(scenario: Scenario, part: str, kind: str = "ctr") -> list[dict]:
    records = []
    for path in directory_of(scenario).shards(part, kind):
        for record in read_records(path):
            example = decode_example(record)
            for feature in features_of(kind, scenario.data):
                values = [
                    value.decode() if isinstance(value, bytes) else value.item()
                    for value in example[feature.name]
                ]
                example[feature.name] = values if feature.is_list else values[0]
            records.append(example)
    return records


def manifest_of(scenario: Scenario) -> dict:
    return json.loads(directory_of(scenario).manifest.read_text())


def write_log(folder: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(folder / "interactions.csv", index=False)


def synthetic_log(
    users: int = 30, items: int = 40, count: int = 900, seed: int = 0
) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "user_id": [f"u{user}" for user in (users * random.random(count) ** 2).astype(int)],
            "item_id": (items * random.random(count) ** 2).astype(int),
            "rating": random.integers(1, 11, count) / 2,
            "timestamp": random.integers(0, 1000 * HOUR, count),
        }
    )
    return frame.drop_duplicates(["user_id", "item_id", "timestamp"])


def test_the_global_time_split_is_that_of_numpy(small_scenario, small_folder):
    log = synthetic_log()
    write_log(small_folder, log)
    scenario = small_scenario(split__by="global_time", split__fractions=[0.6, 0.2, 0.2])
    result = build_examples(scenario)
    log = log.sort_values(["user_id", "timestamp", "item_id"])
    position = log.groupby("user_id").cumcount()
    boundary = np.minimum((log.groupby("user_id")["item_id"].transform("size") + 1) // 2, 2)
    samples = log[position >= boundary]
    hours = np.quantile(samples["timestamp"] // HOUR, [0.6, 0.8], method="inverted_cdf")
    cuts = [(int(hour) + 1) * HOUR for hour in hours]
    assert manifest_of(scenario)["time_cuts"] == cuts
    part = np.searchsorted(cuts, samples["timestamp"], side="right")
    for number, name in enumerate(PARTS):
        expected = samples[part == number]
        actual = read(scenario, name)
        assert Counter((row["user_id"], row["timestamp"]) for row in actual) == Counter(
            zip(expected["user_id"], expected["timestamp"], strict=True)
        )
        assert result["parts"][name] == len(expected) > 50
    training = log[log["timestamp"] < cuts[0]]
    assert result["training_interactions"] == len(training)
    items = read_item_attributes(directory_of(scenario).item_attributes)
    counts = dict(zip(items.item_ids, items.rating_count.tolist(), strict=True))
    expected_counts = training["item_id"].astype(str).value_counts().to_dict()
    assert {item: count for item, count in counts.items() if count} == expected_counts


def test_a_global_time_split_without_a_time_is_refused(small_scenario):
    with pytest.raises(ConfigurationError, match=r"split\.by"):
        build_examples(
            small_scenario(
                split__by="global_time",
                data__interactions__columns={"timestamp": None, "order": "timestamp"},
            )
        )


def test_a_given_part_counts_from_the_boundary_on(small_scenario, small_folder):
    lines = ["user_id,item_id,rating,timestamp,fold"]
    parts = ["test", "train", "train", "validation", "train", "test"]
    lines += [f"u,{item},5,{item},{part}" for item, part in enumerate(parts, 7)]
    (small_folder / "interactions.csv").write_text("\n".join([*lines, "u,9,5,9,other"]))
    scenario = small_scenario(split__by="column", data__interactions__columns={"part": "fold"})
    result = build_examples(scenario)
    positions = {part: sorted(row["position"] for row in read(scenario, part)) for part in PARTS}
    assert positions == {"train": [2, 4], "validation": [3], "test": [5]}
    assert result["given_part_history_only"] == {"train": 1, "validation": 0, "test": 1}
    assert result["later_part_in_history"] == {"train": 2, "validation": 1, "test": 0}
    assert result["rejected_by_reason"] == {"unknown_part": 1}
    assert result["training_interactions"] == 3
    assert read_vocabulary(directory_of(scenario).vocabulary("item_id")) == ["11", "8", "9"]


@pytest.mark.parametrize("misspelt", ["one row", "a part"])
def test_unknown_names_of_parts_are_told_at_once(small_scenario, small_folder, capsys, misspelt):
    name = {"one row": "train", "a part": "trian"}[misspelt]
    parts = [name, name, "trian", name, "validation", "test"]
    lines = [f"u,{item},5,{item},{part}" for item, part in enumerate(parts, 7)]
    path = small_folder / "interactions.csv"
    path.write_text("\n".join(["user_id,item_id,rating,timestamp,fold", *lines]))
    scenario = small_scenario(
        split={"by": "column", "knowledge_history_cap": 0},
        data__interactions__columns={"part": "fold"},
    )
    if misspelt == "one row":
        assert build_examples(scenario)["rejected_by_reason"] == {"unknown_part": 1}
        told, line = capsys.readouterr().err, 4
    else:
        with pytest.raises(CommandError, match="No samples are left for train;") as caught:
            build_examples(scenario)
        told, line = str(caught.value), 2
        assert not directory_of(scenario).path.exists()
    assert f"{path}, line {line} (column 'fold': 'trian')" in told
    assert "the known ones are train, validation (or valid, val, dev, eval) and test" in told


def test_without_time_and_order_rows_follow_each_other(small_scenario, small_folder):
    (small_folder / "interactions.csv").write_text(
        "user_id,item_id,rating\nu,9,1\nu,2,5\nu,9,3\nu,2,5\n"
    )
    scenario = small_scenario(
        split__knowledge_history_cap=0, data__interactions__columns={"timestamp": None}
    )
    result = build_examples(scenario)
    rows = sorted(
        (row for part in PARTS for row in read(scenario, part)), key=lambda row: row["position"]
    )
    assert [row["item_id"] for row in rows] == ["9", "2", "9", "2"]
    assert [row["history_item_id"] for row in rows] == [[], ["9"], ["9", "2"], ["9", "2", "9"]]
    assert [row["timestamp"] for row in rows] == [0] * 4
    assert result["dead_letters"] == 0


def known_items(scenario, log: pd.DataFrame) -> dict[tuple[str, str], set[str]]:
    """(user, part) -> items of the user's first interactions up to the end of the part."""
    known = {}
    ordered = log.sort_values(["user_id", "timestamp", "item_id"])
    ends: dict[tuple[str, str], int] = {}
    for part in PARTS:
        for row in read(scenario, part):
            key = row["user_id"], part
            ends[key] = max(ends.get(key, 0), row["position"] + 1)
    for (user, part), end in ends.items():
        items = ordered[ordered["user_id"] == user]["item_id"].astype(str)
        known[user, part] = set(items.iloc[:end])
    return known


def test_implicit_feedback_gets_sampled_negatives(small_scenario, small_folder):
    log = synthetic_log(count=300)
    write_log(small_folder, log[["user_id", "item_id", "timestamp"]])
    implicit = {
        "data__interactions__columns": {"rating": None},
        "data__negatives": {"per_positive": 2, "by": "popularity", "seed": 4},
    }
    scenario = small_scenario(**implicit)
    result = build_examples(scenario)
    trained = set(read_vocabulary(directory_of(scenario).vocabulary("item_id")))
    known = known_items(scenario, log)
    negatives = 0
    for part in PARTS:
        rows = read(scenario, part)
        real = {(row["user_id"], row["position"]): row for row in rows if row["label"] == 1}
        assert {row["rating"] for row in real.values()} <= {1.0}
        sampled = [row for row in rows if row["label"] == 0]
        negatives += len(sampled)
        drawn = Counter((row["user_id"], row["position"]) for row in sampled)
        assert set(drawn.values()) <= {2} and drawn.keys() == real.keys()
        for row in sampled:
            own = real[row["user_id"], row["position"]]
            changed = {"item_id": row["item_id"], "label": 0, "rating": 0}
            assert row == {**own, **changed}
            assert row["item_id"] not in known[row["user_id"], part] and row["item_id"] in trained
    assert negatives == result["sampled_negatives"] > 100
    assert result["samples"] == sum(result["parts"].values()) == negatives * 3 // 2
    assert result["missing_negatives"] == 0
    assert result["records_in"] == result["records_out"] == len(log)
    assert result["records_out"] == result["samples"] - negatives + result["history_only"]
    items = read_item_attributes(directory_of(scenario).item_attributes)
    assert items.rating_count.sum() == result["training_interactions"]


def test_negatives_by_popularity_are_as_popular_as_positives_in_every_part(
    small_scenario, small_folder
):
    """What a model knows of an item's popularity says nothing, early in histories and late."""
    random = np.random.default_rng(5)
    chances = 1 / np.arange(1, 1501) ** 0.9  # items are the rarer the higher their numbers
    rows = []
    for user in range(600):
        early, late = random.choice(1500, 9, False, chances / chances.sum()), random.choice(1500, 9)
        items = [*early, *np.setdiff1d(late, early)]
        rows += [(f"u{user}", item, time) for time, item in enumerate(items)]
    write_log(small_folder, pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]))
    scenario = small_scenario(
        data__interactions__columns={"rating": None},
        data__negatives={"per_positive": 2, "by": "popularity"},
    )
    assert build_examples(scenario)["missing_negatives"] == 0
    items = read_item_attributes(directory_of(scenario).item_attributes)
    row_of = {item: row for row, item in enumerate(items.item_ids)}
    for part in PARTS:
        samples = read(scenario, part)
        item_rows = np.array([row_of[sample["item_id"]] for sample in samples])
        labels = np.array([sample["label"] for sample in samples])
        counts = items.rating_count[item_rows]
        if part == "train":
            folds = np.array([sample["user_fold"] for sample in samples])
            counts = counts - items.rating_count_by_fold[item_rows, folds]
        assert abs(roc_auc_score(labels, counts) - 0.5) < 0.03
        for count in (0, 1):
            shares = [(counts[labels == label] == count).mean() for label in (0, 1)]
            np.testing.assert_allclose(shares[0], shares[1], atol=0.03)


def test_negatives_come_from_catalogue_and_log(small_scenario, small_folder):
    (small_folder / "interactions.csv").write_text(
        "user_id,item_id,timestamp\nu,10,1\nu,9,2\nv,500,1\n"
    )
    scenario = small_scenario(
        split__knowledge_history_cap=0,
        data__interactions__columns={"rating": None},
        data__negatives={"per_positive": 9},
    )
    result = build_examples(scenario)
    rows = [row for part in PARTS for row in read(scenario, part)]
    # catalogue: 7, 9, 10, 100, 200; log: 500 besides
    expected = {"u": {"7", "100", "200", "500"}, "v": {"7", "9", "10", "100", "200"}}
    for user, items in expected.items():
        drawn = [row["item_id"] for row in rows if row["user_id"] == user and not row["label"]]
        assert Counter(drawn) == dict.fromkeys(items, 2 if user == "u" else 1)
    assert result["sampled_negatives"] == 4 + 4 + 5
    assert result["missing_negatives"] == 5 + 5 + 4
    assert result["samples"] == 3 + 13


def test_lists_for_reranking_and_retrieval_follow_the_samples(small_scenario, small_folder):
    log = synthetic_log(count=400)
    write_log(small_folder, log)
    scenario = small_scenario(
        data__examples=["ctr", "rerank", "retrieval"], data__rerank={"window": 3, "length": 6}
    )
    result = build_examples(scenario)
    known = known_items(scenario, log)
    for part in PARTS:
        samples = {(row["user_id"], row["position"]): row for row in read(scenario, part)}
        lists = read(scenario, part, "rerank")
        covered = set()
        for row in lists:
            user, first = row["user_id"], row["position"]
            window = [
                samples[user, position]
                for position in range(first, first + 3)
                if (user, position) in samples
            ]
            covered |= {(user, sample["position"]) for sample in window}
            real = Counter(
                (sample["item_id"], sample["label"], sample["rating"]) for sample in window
            )
            candidates = Counter(zip(row["item_id"], row["label"], row["rating"], strict=True))
            assert sum(candidates.values()) == 6 and real <= candidates
            sampled = candidates - real
            assert all(label == rating == 0 for _, label, rating in sampled)
            assert not {item for item, _, _ in sampled} & known[user, part]
            shared = row.keys() - {"item_id", "label", "rating"}
            assert all(row[name] == window[0][name] for name in shared)
        assert covered == samples.keys()
        liked = {key: row for key, row in samples.items() if row["label"] == 1}
        retrieval = read(scenario, part, "retrieval")
        assert len(retrieval) == len(liked) == result["examples"]["retrieval"][part] > 0
        for row in retrieval:
            sample = liked[row["user_id"], row["position"]]
            assert row == {name: sample[name] for name in row}
        assert result["examples"]["rerank"][part] == len(lists)
    manifest = manifest_of(scenario)
    assert "label" in manifest["schema"] and "label" not in manifest["schema_retrieval"]
    assert manifest["schema_rerank"]["item_id"]["list"]
    assert directory_of(scenario).schema_of("rerank").exists()
    assert result["missing_candidates"] == 0


PROFILES = """\
user,jobs,age
ann,cook|spy,30.5
eve,spy,
zoe,queen,old
ann,cook,1
,nurse,2
"""


def test_profiles_are_copied_into_examples(small_scenario, small_folder):
    (small_folder / "profiles.csv").write_text(PROFILES)
    profiles = {
        "path": str(small_folder / "profiles.csv"),
        "user": "user",
        "attributes": {
            "jobs": {"kind": "categorical", "separator": "|"},
            "age": {"kind": "numeric"},
        },
    }
    scenario = small_scenario(
        data__profiles=profiles, data__examples=["ctr", "rerank", "retrieval"]
    )
    result = build_examples(scenario)
    expected = {"ann": (["cook", "spy"], [30.5]), "bob": ([], [])}
    for kind in scenario.data.examples:
        rows = [row for part in PARTS for row in read(scenario, part, kind)]
        assert {row["user_id"] for row in rows} == {"ann", "bob"}
        for row in rows:
            assert (row["profile_jobs"], row["profile_age"]) == expected[row["user_id"]]
    # zoe has no interactions, so nobody in training is a queen
    assert read_vocabulary(directory_of(scenario).vocabulary("profile_jobs")) == ["spy", "cook"]
    assert result["vocabularies"]["profile_jobs"] == 2
    assert result["profiles"] == {
        "records_in": 5,
        "records_out": 3,
        "dead_letters": 2,
        "rejected_by_reason": {"duplicate_user": 1, "missing_user_id": 1},
        "unreadable_numbers": {"age": 1},
    }


FULL = {
    "data__examples": ["ctr", "rerank", "retrieval"],
    "data__negatives": {"per_positive": 2},
    "data__filter": {"minimum_user_interactions": 5, "minimum_item_interactions": 15},
    "split__by": "global_time",
}


def test_a_staged_run_writes_the_same_bytes(small_scenario, small_folder, monkeypatch):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(small_folder / "store"))
    write_log(small_folder, synthetic_log())
    here = small_scenario(**FULL, work_dir=str(small_folder / "here"))
    staged = small_scenario(**FULL, work_dir=str(small_folder / "staged"))
    build_examples(here)
    build_examples(staged, beam=BeamOptions(staging="shared://bucket/staging"))
    first, second = (checksums(directory_of(scenario).path) for scenario in (here, staged))
    assert first == second
    assert not any("scratch" in name for name in first)
    assert checksums(small_folder / "store") == {}


@pytest.mark.parametrize(
    ("split_by", "minimum"),
    [
        ("time", 1),
        ("user", 15),
        ("global_time", 15),
        pytest.param("time", 15, marks=pytest.mark.slow),
        pytest.param("user", 1, marks=pytest.mark.slow),
        pytest.param("global_time", 1, marks=pytest.mark.slow),
    ],
)
def test_every_split_goes_with_every_kind_of_example(
    small_scenario, small_folder, split_by, minimum
):
    write_log(small_folder, synthetic_log())
    few = {"minimum_item_interactions": minimum}
    result = build_examples(small_scenario(**FULL | {"split__by": split_by, "data__filter": few}))
    left = result["records_out"] - result["history_only"]
    assert result["samples"] == left + result["sampled_negatives"]
    assert left > 0 and result["sampled_negatives"] > 0
    assert bool(result["filtered_out"]) == (minimum > 1)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_several_workers_write_the_same_bytes(small_scenario, small_folder, mode):
    write_log(small_folder, synthetic_log())
    alone = small_scenario(**FULL, work_dir=str(small_folder / "alone"))
    together = small_scenario(**FULL, work_dir=str(small_folder / "together"))
    build_examples(alone)
    options = ("direct_num_workers=2", f"direct_running_mode={mode}")
    build_examples(together, beam=BeamOptions("FnApiRunner", options))
    assert checksums(directory_of(alone).path) == checksums(directory_of(together).path)


def test_shards_follow_the_size_of_the_log(small_scenario, small_folder):
    log = synthetic_log(count=100)
    log["padding"] = "x" * 12_000
    write_log(small_folder, log)
    scenario = small_scenario(data__shard_megabytes=1)
    assert (small_folder / "interactions.csv").stat().st_size > 1 << 20
    build_examples(scenario)
    assert len(directory_of(scenario).shards("train")) == 2
    padded = pd.concat([log.assign(user_id=log["user_id"] + f"_{copy}") for copy in range(3)])
    write_log(small_folder, padded)
    result = build_examples(scenario)
    assert len(directory_of(scenario).shards("train")) == 4
    users = [
        {decode_example(record)["user_id"][0] for record in read_records(path)}
        for path in directory_of(scenario).shards("train")
    ]
    assert sum(map(len, users)) == len(set().union(*users)) <= result["users"]


def test_extra_labels_stand_beside_the_label_of_ctr_examples(small_scenario, small_folder):
    log = synthetic_log().drop_duplicates(["user_id", "timestamp"])
    log["seen"] = np.random.default_rng(1).integers(0, 2, len(log))
    write_log(small_folder, log)
    labels = {"seen_to_the_end": {"column": "seen"}, "loved": {"minimum_rating": 4.5}}
    scenario = small_scenario(
        data__labels=labels,
        data__negatives={"per_positive": 1},
        data__examples=["ctr", "retrieval"],
    )
    build_examples(scenario)
    row_of = {
        (user, str(item), time): (int(seen), int(rating >= 4.5))
        for user, item, rating, time, seen in log.itertuples(index=False)
    }
    actual = [row for part in PARTS for row in read(scenario, part)]
    sampled = 0
    for row in actual:
        key = (row["user_id"], row["item_id"], row["timestamp"])
        expected = row_of.get(key, (0, 0))
        sampled += key not in row_of
        assert (row["label_seen_to_the_end"], row["label_loved"]) == expected
    assert sampled > 50
    schema = directory_of(scenario).schema.read_text()
    assert 'name: "label_loved"' in schema
    assert "label_" not in directory_of(scenario).schema_of("retrieval").read_text()
    assert not build_examples(small_scenario(data__labels={}))["skipped"]
    assert manifest_of(scenario)["settings"].get("data.labels.loved.minimum_rating") is None


def rename_items(path, rename) -> None:
    header, *lines = path.read_text().splitlines()
    rows = [line.split(",", 2) for line in lines]
    path.write_text("\n".join([header, *(f"{u},{rename(i)},{rest}" for u, i, rest in rows)]) + "\n")


def test_whole_numbers_with_decimals_are_the_items_of_the_catalogue(small_scenario, small_folder):
    expected = build_examples(small_scenario(work_dir=str(small_folder / "plain")))
    rename_items(small_folder / "interactions.csv", lambda item: f"{item}.0")
    result = build_examples(small_scenario())
    assert result["items"] == expected["items"]
    assert result["vocabularies"] == expected["vocabularies"]
    vocabulary = read_vocabulary(directory_of(small_scenario()).vocabulary("item_id"))
    assert "10" in vocabulary and "10.0" not in vocabulary


def test_the_share_of_the_log_in_the_catalogue_is_counted(small_scenario, capsys):
    scenario = small_scenario()
    result = build_examples(scenario)
    # The catalogue has 10, 9, 7 and 100 of the nine items of the log.
    coverage = result["coverage"]["catalogue"]
    assert (coverage["ids"], coverage["covered_ids"]) == (9, 4)
    assert coverage["share_of_ids"] == 0.444444
    assert coverage["training_interactions"] == result["training_interactions"]
    manifest = json.loads(directory_of(scenario).manifest.read_text())
    assert manifest["counts"]["coverage"] == {"catalogue": coverage}
    assert "44.4% of the log's 9 items" in capsys.readouterr().err
    assert build_examples(small_scenario(data__warn_coverage_below=0.99))["skipped"]
    assert "warning: the catalogue" in capsys.readouterr().err


def test_a_catalogue_of_other_ids_is_refused(small_scenario, small_folder):
    rename_items(small_folder / "interactions.csv", lambda item: f"movie-{item}")
    with pytest.raises(CommandError) as error:
        build_examples(small_scenario())
    message = str(error.value)
    for part in ("interactions.csv", "catalogue.csv", "'movie-3'", "'7'", "data.catalogue.item"):
        assert part in message
    assert not directory_of(small_scenario()).path.exists()


def with_profiles(small_scenario, small_folder, text: str, **changes: object):
    path = small_folder / "profiles.csv"
    path.write_text(text)
    attributes = {"job": {"kind": "categorical"}}
    profiles = {"path": str(path), "user": "user", "attributes": attributes}
    return small_scenario(data__profiles=profiles, **changes)


def test_the_share_of_the_log_in_the_profiles_is_counted(small_scenario, small_folder, capsys):
    result = build_examples(with_profiles(small_scenario, small_folder, "user,job\neve,spy\n"))
    coverage = result["coverage"]["profiles"]
    assert (coverage["entity"], coverage["ids"], coverage["covered_ids"]) == ("user", 3, 1)
    assert coverage["training_interactions"] == result["training_interactions"]
    err = capsys.readouterr().err
    assert "33.3% of the log's 3 users" in err and "warning: the profiles" in err
    quiet = with_profiles(
        small_scenario, small_folder, "user,job\neve,spy\n", data__warn_coverage_below=0.0
    )
    assert build_examples(quiet)["skipped"]
    assert "warning: the profiles" not in capsys.readouterr().err


def test_profiles_of_other_ids_are_refused(small_scenario, small_folder):
    scenario = with_profiles(small_scenario, small_folder, "user,job\nuser_7,spy\n")
    with pytest.raises(CommandError) as error:
        build_examples(scenario)
    message = str(error.value)
    for part in ("interactions.csv", "profiles.csv", "'aaa'", "'aaaa_9'", "data.profiles.user"):
        assert part in message
    assert "bob" not in message and "user_7" not in message
    assert not directory_of(scenario).path.exists()
    assert build_examples(with_profiles(small_scenario, small_folder, "user,job\n"))["samples"]
