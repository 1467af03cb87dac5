from __future__ import annotations

import json
from pathlib import Path

import pytest

from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import (
    StepDirectory,
    WorkDirectory,
    examples_settings,
    knowledge_settings,
    read_settings,
    shard_files,
)


def test_paths_are_those_of_the_contract():
    work = WorkDirectory("out")
    assert work.knowledge("item").shard(0, 2) == Path(
        "out/knowledge/item/part-00000-of-00002.tfrecord.gz"
    )
    assert work.knowledge("item").manifest == Path("out/knowledge/item/manifest.json")
    assert work.knowledge("item").dead_letters == Path("out/knowledge/item/dead_letters.jsonl")
    assert work.examples.shard("test", 1, 2) == Path(
        "out/examples/ctr/test/part-00001-of-00002.tfrecord.gz"
    )
    assert work.examples.item_attributes == Path("out/examples/item_attributes.parquet")
    assert work.examples.vocabulary("genres") == Path("out/examples/vocabularies/genres.txt")
    assert work.examples.schema == Path("out/examples/schema.pbtxt")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_shards_come_in_order_and_other_files_are_left_out(tmp_path):
    touch(tmp_path, "part-00001-of-00002.tfrecord.gz", "part-00000-of-00002.tfrecord.gz")
    touch(tmp_path, "manifest.json", "part-00000-of-00002.tfrecord.gz.partial")
    assert [path.name for path in shard_files(tmp_path)] == [
        "part-00000-of-00002.tfrecord.gz",
        "part-00001-of-00002.tfrecord.gz",
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["part-00001-of-00002.tfrecord.gz"],
        ["part-00000-of-00002.tfrecord.gz", "part-00000-of-00001.tfrecord.gz"],
        ["part-00000-of-00003.tfrecord.gz", "part-00002-of-00003.tfrecord.gz"],
    ],
)
def test_an_incomplete_set_is_refused(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(DamagedRecords, match="incomplete"):
        shard_files(tmp_path)


def test_no_shards_are_explained(tmp_path):
    with pytest.raises(DamagedRecords, match="run 'python -m preprocessing all'"):
        WorkDirectory(tmp_path).examples.shards("train")


def test_vectors_without_a_fold_have_folders_of_their_own(tmp_path):
    directory = WorkDirectory(tmp_path).knowledge("rated")
    assert not directory.is_cross_fitted
    folder = tmp_path / "knowledge" / "rated" / "without_fold_0"
    folder.mkdir(parents=True)
    touch(folder, "part-00000-of-00001.tfrecord.gz")
    assert directory.is_cross_fitted
    assert directory.shards_without_fold(0) == [folder / "part-00000-of-00001.tfrecord.gz"]
    with pytest.raises(DamagedRecords, match="without_fold_1: no TFRecord files"):
        directory.shards_without_fold(1)


PROFILES = {"path": "p.csv", "attributes": {"age": {"kind": "numeric"}}}


@pytest.mark.parametrize(
    ("changes", "key", "values"),
    [
        ({"data__positive_rating": 2}, "data.positive_rating", (4.0, 2.0)),
        ({"data__history_length": 9}, "data.history_length", (3, 9)),
        (
            {"data__filter__minimum_item_interactions": 5},
            "data.filter.minimum_item_interactions",
            (1, 5),
        ),
        ({"data__filter__repeat": False}, "data.filter.repeat", (True, False)),
        ({"data__negatives__per_positive": 2}, "data.negatives.per_positive", (0, 2)),
        ({"data__negatives__by": "popularity"}, "data.negatives.by", ("uniform", "popularity")),
        ({"data__negatives__seed": 1}, "data.negatives.seed", (0, 1)),
        ({"data__examples": ["retrieval"]}, "data.examples", (["ctr"], ["retrieval"])),
        ({"data__rerank__window": 3}, "data.rerank.window", (4, 3)),
        (
            {"data__interactions__columns__order": "n"},
            "data.interactions.columns.order",
            (None, "n"),
        ),
        (
            {"data__interactions__time_unit": "iso"},
            "data.interactions.time_unit",
            ("seconds", "iso"),
        ),
        ({"data__catalogue__title": "name"}, "data.catalogue.title", ("title", "name")),
        (
            {"data__catalogue__attributes__genres__separator": ","},
            "data.catalogue.attributes.genres.separator",
            ("|", ","),
        ),
        ({"data__profiles": PROFILES}, "data.profiles.attributes.age.kind", (None, "numeric")),
        (
            {"data__labels": {"loved": {"minimum_rating": 5}}},
            "data.labels.loved.minimum_rating",
            (None, 5.0),
        ),
        ({"split__by": "user"}, "split.by", ("time", "user")),
        (
            {"split__fractions": [0.5, 0.3, 0.2]},
            "split.fractions",
            ([0.8, 0.1, 0.1], [0.5, 0.3, 0.2]),
        ),
        ({"split__seed": 2}, "split.seed", (0, 2)),
        ({"split__knowledge_history_cap": 5}, "split.knowledge_history_cap", (2, 5)),
    ],
)
def test_examples_depend_on_everything_that_changes_them(small_scenario, changes, key, values):
    first = examples_settings(small_scenario())
    other = examples_settings(small_scenario(**changes))
    assert (first.get(key), other.get(key)) == values


def test_examples_do_not_depend_on_where_and_how_their_input_is_written(small_scenario):
    moved = small_scenario(
        data__interactions__path=["elsewhere/*.tsv"],
        data__interactions__separator="\t",
        data__catalogue__path="elsewhere.parquet",
        data__catalogue__format="parquet",
        data__shard_megabytes=3,
        training__seed=9,
        work_dir="x",
    )
    assert examples_settings(moved) == examples_settings(small_scenario())


def test_knowledge_depends_on_encoder_and_answers_but_not_on_where_they_lie(small_scenario):
    first = knowledge_settings(small_scenario(), "item")
    moved = small_scenario(
        knowledge__answers__item__individual=["elsewhere.jsonl"],
        knowledge__answers__item__groups="elsewhere.csv",
        knowledge__shards=7,
    )
    assert knowledge_settings(moved, "item") == first
    other = knowledge_settings(
        small_scenario(
            knowledge__encoder__seed=3,
            knowledge__answers__item__collective=[],
            knowledge__answers__item__groups=None,
            knowledge__answers__item__individual=["a", "b"],
        ),
        "item",
    )
    assert {key: (first[key], other[key]) for key in first if first[key] != other[key]} == {
        "knowledge.encoder.seed": (0, 3),
        "knowledge.answers.item.individual": ("1 file", "2 files"),
        "knowledge.answers.item.collective": ("1 file", "no file"),
        "knowledge.answers.item.groups": ("1 file", "no file"),
    }


def test_groups_that_are_made_here_depend_on_where_the_boundary_lies(small_scenario):
    made = {"knowledge__answers__item__groups": None, "knowledge__answers__item__grouping": {}}
    first, other, own = (
        knowledge_settings(small_scenario(**changes), "item")
        for changes in (
            made,
            {
                **made,
                "split__knowledge_history_cap": 7,
                "data__filter__minimum_user_interactions": 3,
                "split__by": "user",
                "data__history_length": 9,
            },
            {"split__knowledge_history_cap": 7},
        )
    )
    assert {key: (first[key], other[key]) for key in first if first[key] != other[key]} == {
        "split.knowledge_history_cap": (2, 7),
        "data.filter.minimum_user_interactions": (1, 3),
    }
    assert "split.knowledge_history_cap" not in own


LABELS = {"seen": {"column": "seen"}}
CHANGES = {
    "split.seed": {"split__seed": 4},
    "data.filter.repeat": {"data__filter__repeat": False},
    "data.interactions.columns.order": {"data__interactions__columns__order": "n"},
    "data.labels.seen.column": {"data__labels": LABELS},
    "data.catalogue.item": {"data__catalogue__item": "id"},
    "data.catalogue.title": {"data__catalogue__title": "name"},
    "data.catalogue.attributes.genres.separator": {
        "data__catalogue__attributes__genres__separator": ","
    },
    "data.catalogue.attributes.year.pattern": {
        "data__catalogue__attributes__year__pattern": "(....)"
    },
    "knowledge.encoder.seed": {"knowledge__encoder__seed": 4},
    "data.history_length": {"data__history_length": 9},
}
LOG = {"data.filter.repeat", "data.interactions.columns.order", "data.labels.seen.column"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            {"entity": "item", "metadata": ["title", "genres"]},
            {
                "data.catalogue.item",
                "data.catalogue.title",
                "data.catalogue.attributes.genres.separator",
                "knowledge.encoder.seed",
            },
        ),
        ({"entity": "user", "random": {}}, LOG),
        ({"entity": "item", "random": {}}, LOG | {"data.catalogue.item"}),
        ({"entity": "item", "collaborative": {}}, LOG | {"split.seed"}),
        ({"entity": "item", "vectors": ["v.npz"]}, set()),
    ],
)
def test_what_vectors_depend_on_that_are_made_in_place_of_answers(
    small_scenario, answers, expected
):
    made = {"knowledge__answers__item": answers, "model__adapter": "none"}
    first = knowledge_settings(small_scenario(**made), "item")
    actual = set()
    for key, change in CHANGES.items():
        other = knowledge_settings(small_scenario(**made, **change), "item")
        if other != first:
            actual.add(key)
            assert other.get(key) != first.get(key)
    assert actual == expected


def test_settings_are_read_from_the_manifest(tmp_path: Path):
    directory = StepDirectory(tmp_path)
    directory.manifest.write_text(json.dumps({"settings": {"split.by": "user"}, "counts": {}}))
    assert read_settings(directory) == {"split.by": "user"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "manifest.json: No such file.*run 'python -m preprocessing all' first"),
        ("{", "manifest.json: not a manifest .*run 'python -m preprocessing all' again"),
        ("[]", "manifest.json: does not say which settings"),
        ('{"settings": 3}', "manifest.json: does not say which settings"),
        ('{"counts": {}}', "manifest.json: does not say which settings"),
    ],
)
def test_a_manifest_without_settings_is_explained(
    tmp_path: Path, content: str | None, problem: str
):
    directory = StepDirectory(tmp_path)
    if content is not None:
        directory.manifest.write_text(content)
    with pytest.raises(DamagedRecords, match=problem):
        read_settings(directory)
