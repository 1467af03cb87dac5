from __future__ import annotations

import pyarrow as pa

from configs.data import Catalogue
from preprocessing import storage
from preprocessing.interactions.catalogue import catalogue_schema
from preprocessing.interactions.shard import write_summary
from preprocessing.records.item_tables import read_item_attributes, read_vocabulary
from preprocessing.records.layout import ExamplesDirectory
from tests.preprocessing import shared_file_system
from tests.preprocessing.interactions.test_item_statistics import statistics

CATALOGUE = Catalogue.model_validate(
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
    shards = {1: statistics("w", {"b": 0.5}), 0: statistics("u", {"a": 1.0, "b": 2.0})}
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


def test_the_folder_may_be_a_url(tmp_path, monkeypatch):
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
