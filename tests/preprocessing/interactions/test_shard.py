from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from configs.data import CatalogueTable, Data, Split
from configs.prompting import Prompts
from preprocessing import storage
from preprocessing.interactions.catalogue import catalogue_schema
from preprocessing.interactions.leak_check import CheckedSource, PromptCheck, SeenPrompt
from preprocessing.interactions.pipeline import _joined_universe, _universe_of
from preprocessing.interactions.reading import (
    open_interactions,
    table_from_bytes,
    table_to_bytes,
)
from preprocessing.interactions.samples import NUM_POPULATIONS, ItemUniverse, user_folds
from preprocessing.interactions.sequences import split_interactions
from preprocessing.interactions.shard import (
    Shard,
    add_up,
    count_items,
    distinct_items,
    fold_matrices,
    shards_of_log,
    statistics_table,
    write_schema,
    write_shard,
    write_summary,
)
from preprocessing.interactions.shown_entries import PromptWording
from preprocessing.records.contract import features_of
from preprocessing.records.item_tables import read_item_attributes, read_vocabulary
from preprocessing.records.layout import ExamplesDirectory
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import decode_example
from tests.memory import most_held_by_arrow
from tests.preprocessing import shared_file_system
from tests.preprocessing.interactions.synthetic_interactions import (
    changed,
    interaction_table,
    sequences_of,
)


@pytest.mark.parametrize(("megabytes", "shards"), [(16, 2), (1, 3)])
def test_a_shard_for_so_many_megabytes_and_two_at_least(
    small_scenario, small_folder, megabytes, shards
):
    line = "bob,10,4.0,100\n"
    log = "user_id,item_id,rating,timestamp\n" + line * ((2 << 20) // len(line) + 1)
    (small_folder / "interactions.csv").write_text(log)
    scenario = small_scenario(data__shard_megabytes=megabytes)
    reader = open_interactions(scenario.data, scenario.split)
    assert shards_of_log(reader, scenario.data) == shards


DATA = Data.model_validate(
    {
        "interactions": {"path": "i.csv"},
        "catalogue": {"path": "c.csv"},
        "history_length": 7,
        "rerank": {"length": 5},
        "profiles": {
            "path": "p.csv",
            "attributes": {
                "jobs": {"kind": "categorical", "separator": "|"},
                "gender": {"kind": "categorical"},
                "age": {"kind": "numeric"},
            },
        },
    }
)


def read_back(folder: Path, kind: str) -> dict[str, schema_pb2.Feature]:
    path = folder / "schema.pbtxt"
    write_schema(path, features_of(kind, DATA), DATA)
    schema = text_format.Parse(path.read_text(), schema_pb2.Schema())
    return {feature.name: feature for feature in schema.feature}


def test_the_text_format_of_a_schema_is_read_back(tmp_path):
    features = read_back(tmp_path, "ctr")
    assert len(features) == 12 + 3
    assert features["item_id"].type == schema_pb2.BYTES
    assert features["label"].type == schema_pb2.FLOAT
    assert features["timestamp"].type == schema_pb2.INT
    assert features["label"].shape.dim[0].size == 1
    assert features["label"].presence.min_fraction == 1.0
    assert features["history_rating"].value_count.max == 7
    assert not features["history_rating"].HasField("shape")


def test_lists_of_candidates_are_as_long_as_configured(tmp_path):
    features = read_back(tmp_path, "rerank")
    for name in ("item_id", "label", "rating"):
        assert features[name].value_count.max == 5 and not features[name].HasField("shape")
    assert features["history_item_id"].value_count.max == 7
    retrieval = read_back(tmp_path, "retrieval")
    assert "label" not in retrieval and retrieval["item_id"].shape.dim[0].size == 1


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_profiles_belong_to_every_kind(tmp_path, kind):
    features = read_back(tmp_path, kind)
    assert features["profile_jobs"].type == features["profile_gender"].type == schema_pb2.BYTES
    assert features["profile_age"].type == schema_pb2.FLOAT
    assert not features["profile_jobs"].value_count.HasField("max")
    assert features["profile_age"].value_count.max == 1


TREE = {"interactions": {"path": "i.csv"}, "catalogue": {"path": "c.csv"}}
PROFILES = {"path": "p.csv", "attributes": {"job": {"kind": "categorical"}}}
NO_PROFILES = pa.table({"user": pa.array([], pa.string())})


def data(**settings: object) -> Data:
    return Data.model_validate({**TREE, **settings})


def shard(table: pa.Table, profiles: pa.Table = NO_PROFILES, seen: tuple = ()) -> Shard:
    return Shard(1, 3, sequences_of(table), list(seen), profiles)


def log() -> pa.Table:
    """u: items 0 to 11, of which even ones are liked; v: one interaction."""
    rows = [("u", str(item), 5.0 - item % 2 * 3, item) for item in range(12)]
    return interaction_table(*rows, ("v", "3", 1.0, 5))


def read(folder, part: str, kind: str = "ctr") -> list[dict]:
    return [
        decode_example(record)
        for record in read_records(ExamplesDirectory(folder).shard(part, 1, 3, kind))
    ]


def test_files_statistics_and_counts_belong_together(tmp_path):
    history = "Item 0 5 stars; Item 1 2 stars; Item 2 5 stars; Item 3 2 stars."
    seen = (SeenPrompt("user", "u", 0, 1, history), SeenPrompt("taste", "u", 0, 1, None))
    source = CheckedSource(pattern=" stars[;.]", seen="first_interactions")
    wording = PromptWording.of(Prompts(scenario="movies"), rated=True)
    result = write_shard(
        shard(log(), seen=seen),
        data(),
        Split(knowledge_history_cap=2),
        str(tmp_path),
        prompts=PromptCheck(sources={"user": source, "taste": source}, wording=wording),
        names={str(item): [("item", str(item))] for item in range(12)},
    )
    assert result.statistics["samples"] == {"train": 8, "validation": 1, "test": 1}
    assert result.statistics["examples"] == {"ctr": result.statistics["samples"]}
    assert result.statistics["history_only"] == 3
    assert result.statistics["leaks"]["violations"] == 2  # items 2 and 3; samples start at 2
    assert result.statistics["leaks"]["unresolved_answers"] == {"taste": 1, "user": 1}
    assert result.statistics["training_interactions"] == 11
    assert result.users == {"u": 10, "v": 1}
    assert len(distinct_items([result.items])) == 12
    for part, count in result.statistics["samples"].items():
        assert len(read(tmp_path, part)) == count


def test_users_without_training_interactions_are_not_named(tmp_path):
    profiles = pa.table(
        {"user": ["u", "v"], "job": pa.array([["cook"], ["spy"]], pa.list_(pa.string()))}
    )
    part_of_u = [0] * 12
    table = changed(log(), part=[*part_of_u, 2])
    result = write_shard(
        shard(table, profiles),
        data(profiles=PROFILES),
        Split(by="column", knowledge_history_cap=2),
        str(tmp_path),
    )
    assert result.users == {"u": 12}
    assert {name: dict(counts) for name, counts in result.profile_values.items()} == {
        "profile_job": {"cook": 1, "spy": 0}
    }
    assert result.statistics["given_part_history_only"] == {
        "train": 2, "validation": 0, "test": 1,
    }  # fmt: skip
    assert all(example["profile_job"] == [b"cook"] for example in read(tmp_path, "train"))


def test_every_kind_is_written_from_the_same_samples(tmp_path):
    universe = ItemUniverse(pa.array(sorted(map(str, range(40)))), np.zeros((40, 0), int))
    settings = data(
        examples=["ctr", "rerank", "retrieval"],
        negatives={"per_positive": 2},
        rerank={"window": 3, "length": 5},
    )
    split = Split(knowledge_history_cap=2)
    result = write_shard(shard(log()), settings, split, str(tmp_path), universe=universe)
    # train: items 2 to 9, four of them liked; validation: item 10, liked; test: item 11
    assert result.statistics["samples"] == {"train": 8, "validation": 1, "test": 1}
    assert result.statistics["examples"] == {
        "ctr": {"train": 8 + 2 * 4, "validation": 1 + 2, "test": 1},
        "rerank": {"train": 3, "validation": 1, "test": 1},
        "retrieval": {"train": 4, "validation": 1, "test": 0},
    }
    assert result.statistics["missing_negatives"] == 0
    assert result.statistics["missing_candidates"] == 0
    train = read(tmp_path, "train")
    assert sum(float(example["label"][0]) for example in train) == 4
    sampled = [example for example in train if example["rating"][0] == 0]
    known = {str(item).encode() for item in range(10)}  # items 10 and 11 come later
    assert len(sampled) == 8 and not known & {example["item_id"][0] for example in sampled}
    lists = sorted(read(tmp_path, "train", "rerank"), key=lambda example: example["position"][0])
    assert [example["position"][0] for example in lists] == [2, 5, 8]
    assert [len(example["item_id"]) for example in lists] == [5, 5, 5]
    assert [int(example["label"].sum()) for example in lists] == [2, 1, 1]
    retrieved = {example["item_id"][0] for example in read(tmp_path, "train", "retrieval")}
    assert retrieved == {b"2", b"4", b"6", b"8"}
    # sampled items are no interactions: statistics hold the user's own items only
    _, counts = fold_matrices(result.items)
    assert sorted(distinct_items([result.items]).to_pylist()) == sorted(map(str, range(12)))
    assert counts.sum() == 10 + 1


def test_too_few_items_leave_examples_short(tmp_path):
    universe = ItemUniverse(pa.array(sorted(map(str, range(13)))), np.zeros((13, 0), int))
    settings = data(examples=["ctr", "rerank"], negatives={"per_positive": 3})
    split = Split(knowledge_history_cap=2)
    result = write_shard(shard(log()), settings, split, str(tmp_path), universe=universe)
    # items nobody but later parts know: 10, 11 and 12 for train, 11 and 12 for validation
    assert result.statistics["examples"]["ctr"] == {"train": 8 + 4 * 3, "validation": 3, "test": 1}
    assert result.statistics["missing_negatives"] == 1
    # lists: train 4 and 4, validation 1, test 1; items left to fill them: 3, 3, 2 and 1
    assert result.statistics["missing_candidates"] == 3 + 3 + 7 + 8


def test_sampled_items_need_a_universe(tmp_path):
    for settings in (data(negatives={"per_positive": 1}), data(examples=["rerank"])):
        with pytest.raises(ValueError, match="universe"):
            write_shard(shard(log()), settings, Split(), str(tmp_path))


def test_no_users_leave_empty_files(tmp_path):
    universe = ItemUniverse(pa.array([], pa.string()), np.zeros((0, 0), int))
    settings = data(
        examples=["ctr", "rerank", "retrieval"], negatives={"per_positive": 1}, profiles=PROFILES
    )
    profiles = pa.table(
        {"user": pa.array([], pa.string()), "job": pa.array([], pa.list_(pa.string()))}
    )
    empty = shard(interaction_table(), profiles)
    result = write_shard(empty, settings, Split(), str(tmp_path), universe=universe)
    assert result.users == {} and result.statistics["users"] == 0
    for kind in settings.examples:
        assert read(tmp_path, "test", kind) == []


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of pairs of a positive and a negative in right order; ties count half."""
    positive, negative = scores[labels == 1][:, None], scores[labels == 0][None, :]
    return float(((positive > negative) + 0.5 * (positive == negative)).mean())


@pytest.mark.parametrize("kind", ["ctr", "rerank"])
def test_training_negatives_do_not_tell_what_the_test_asks(tmp_path, kind):
    """In a random log nothing can be learnt, so a score made of training negatives is a guess."""
    random = np.random.default_rng(3)
    items = [f"i{item:03}" for item in range(100)]
    rows = [
        (f"u{user}", items[item], 5.0, time)
        for user in range(250)
        for time, item in enumerate(random.permutation(100)[:24])
    ]
    settings = data(
        examples=[kind], negatives={"per_positive": 4}, rerank={"window": 1, "length": 5}
    )
    universe = ItemUniverse(pa.array(items), np.zeros((100, 0), int))
    write_shard(shard(interaction_table(*rows)), settings, Split(), str(tmp_path), None, universe)
    drawn: Counter[tuple[bytes, bytes]] = Counter()
    for example in read(tmp_path, "train", kind):
        for item, label in zip(example["item_id"], example["label"], strict=True):
            drawn[example["user_id"][0], item] += label == 0
    for part in ("validation", "test"):
        asked = [
            (drawn[example["user_id"][0], item], label)
            for example in read(tmp_path, part, kind)
            for item, label in zip(example["item_id"], example["label"], strict=True)
        ]
        counts, labels = np.array(asked).T
        assert (labels == 1).sum() == 250 and counts[labels == 1].sum() > 50
        assert abs(auc(-counts, labels) - 0.5) < 0.04


def test_samples_after_an_interaction_of_a_later_part_are_counted(tmp_path):
    # u: k_u = 2, samples from item 2 on; the test interaction 4 comes before three training ones
    table = changed(log(), part=[0, 0, 0, 1, 2, 0, 0, 1, 2, 2, 0, 2] + [0])
    split = Split(by="column", knowledge_history_cap=2)
    result = write_shard(shard(table), data(), split, str(tmp_path))
    assert result.statistics["later_part_in_history"] == {
        "train": 3, "validation": 1, "test": 0,
    }  # fmt: skip


def statistics(user: str, ratings: dict[str, float]) -> pa.Table:
    rows = [(user, item, rating, time) for time, (item, rating) in enumerate(ratings.items())]
    sequences = sequences_of(interaction_table(*rows))
    return count_items(sequences, split_interactions(sequences, Split(knowledge_history_cap=0)))


def test_training_ratings_are_added_up_by_fold():
    # five interactions: four are training (0.8 * 5), the last one is test
    tables = [
        statistics("u", {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0}),
        statistics("w", {"b": 0.5}),
    ]
    assert sorted(distinct_items(tables).to_pylist()) == ["a", "b", "c", "d", "e"]
    sums, counts = fold_matrices(add_up(tables, ["e", "b", "new", "a", "c", "d"]))
    assert sums.sum(axis=1).tolist() == [0.0, 2.5, 0.0, 1.0, 3.0, 4.0]
    assert counts.sum(axis=1).tolist() == [0, 2, 0, 1, 1, 1]
    first, second = user_folds(["u", "w"])
    assert first != second
    assert sums[1, first] == 2.0 and sums[1, second] == 0.5
    assert counts[1, first] == 1 and counts[1, second] == 1


def test_no_tables_of_statistics_give_zeros():
    sums, counts = fold_matrices(add_up([], ["a"]))
    assert sums.tolist() == [[0.0] * 10] and counts.tolist() == [[0] * 10]


CATALOGUE = CatalogueTable.model_validate(
    {"path": "c.csv", "attributes": {"genres": {"kind": "categorical", "separator": "|"}}}
)


def catalogue_table() -> pa.Table:
    rows = [
        ("b", "B", ["x", "y"]),
        ("z", "Z", ["y"]),
        ("b", "B again", ["x"]),
    ]
    columns = [*map(list, zip(*rows, strict=True)), [0, 0, 0], [2, 3, 4]]
    return pa.table(columns, schema=catalogue_schema(CATALOGUE))


def test_shards_and_catalogue_meet(tmp_path):
    tables = {1: statistics("w", {"b": 0.5}), 0: statistics("u", {"a": 1.0, "b": 2.0})}
    shards = {shard: table_to_bytes(table) for shard, table in tables.items()}
    values = [{"profile_job": {"cook": 1, "spy": 0}}, {"profile_job": {"cook": 1, "nurse": 3}}]
    counted, dead_letters = write_summary(
        [catalogue_table()],
        shards,
        [{"u": 2}, {"w": 1, "t": 2}],
        values,
        CATALOGUE,
        ["c.csv"],
        str(tmp_path),
    )
    assert counted == {
        "items": 3,
        "catalogue_items": 2,
        "items_outside_catalogue": 1,
        "catalogue_coverage": {
            "entity": "item",
            "ids": 2,
            "covered_ids": 1,
            "rows": 3,
            "covered_rows": 2,
            "noun": "training_interactions",
            "lacking": ("a",),
            "unused": ("z",),
        },
        "unreadable_numbers": {},
        "vocabularies": {"item_id": 2, "user_id": 3, "genres": 2, "profile_job": 2},
    }
    assert [letter["reason"] for letter in dead_letters] == ["duplicate_item"]
    directory = ExamplesDirectory(tmp_path)
    items = read_item_attributes(directory.item_attributes)
    assert items.item_ids == ["a", "b", "z"]
    assert items.titles == ["", "B", "Z"]
    assert items.rating_sum.tolist() == [1.0, 2.5, 0.0]
    assert read_vocabulary(directory.vocabulary("item_id")) == ["b", "a"]
    assert read_vocabulary(directory.vocabulary("user_id")) == ["t", "u", "w"]
    assert read_vocabulary(directory.vocabulary("genres")) == ["y", "x"]
    assert read_vocabulary(directory.vocabulary("profile_job")) == ["nurse", "cook"]


def test_memory_of_the_summary_does_not_grow_with_the_shards(tmp_path: Path) -> None:
    items = 20_000
    numbers = np.ones(items * 10)
    ids = pa.array([f"item {number}" for number in range(items)])
    shard = table_to_bytes(statistics_table(ids, numbers, numbers.astype(np.int64)))

    def summary(shards: int) -> None:
        tables = dict.fromkeys(range(shards), shard)
        write_summary([catalogue_table()], tables, [], [], CATALOGUE, ["c.csv"], str(tmp_path))

    few = most_held_by_arrow(lambda: summary(2))
    # 160 bytes of statistics for an item of a shard, and the item attributes that are written.
    # Sixteen shards at once would be five times as much.
    assert items * 160 < few < items * 1_200
    assert most_held_by_arrow(lambda: summary(16)) < 1.5 * few


def test_items_of_all_shards_are_added_up_a_few_shards_at_a_time() -> None:
    ids = [f"item {number:05d}" for number in range(20_000)]
    counts = np.arange(20_000)[:, np.newaxis] * np.arange(1, NUM_POPULATIONS + 1)
    halves = [_universe_of(ids[half::2], counts[half::2]) for half in (0, 1)]

    def joined(shards: int) -> pa.Table:
        tables = [_universe_of(["alone"]), *halves * (shards // 2)]
        return table_from_bytes(_joined_universe((0, tables)))

    many = joined(16)
    assert many.column(0).to_pylist() == ["alone", *ids]
    numbers = np.stack([column.to_numpy() for column in many.columns[1:]], axis=1)
    np.testing.assert_array_equal(numbers, np.concatenate([0 * counts[:1], counts * 8]))
    few = most_held_by_arrow(lambda: joined(2))
    assert (
        most_held_by_arrow(lambda: joined(16))
        < 2 * few
        < most_held_by_arrow(
            lambda: pa.concat_tables(
                [table_from_bytes(half) for half in halves * 8]
            ).combine_chunks()
        )
    )


def test_the_folder_of_the_summary_may_be_a_url(tmp_path, monkeypatch):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    write_summary([catalogue_table()], {}, [], [], CATALOGUE, ["c.csv"], "shared://folder")
    assert storage.files_below("shared://folder") == [
        "shared://folder/item_attributes.parquet",
        "shared://folder/vocabularies/genres.txt",
        "shared://folder/vocabularies/item_id.txt",
        "shared://folder/vocabularies/user_id.txt",
    ]
    items = read_item_attributes(ExamplesDirectory(tmp_path / "folder").item_attributes)
    assert items.item_ids == ["b", "z"]
