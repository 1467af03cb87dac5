from __future__ import annotations

from configs.scenario import Catalogue
from preprocessing.csv_blocks import CsvBlock
from preprocessing.interactions.catalogue import parse_catalogue
from preprocessing.interactions.summary import write_summary
from preprocessing.records.item_attributes import read_item_attributes
from preprocessing.records.layout import ExamplesDirectory
from preprocessing.records.vocabularies import read_vocabulary
from tests.preprocessing.interactions.test_item_statistics import statistics

CATALOGUE = Catalogue.model_validate(
    {"path": "c.csv", "attributes": {"genres": {"kind": "categorical", "separator": "|"}}}
)


def test_shards_and_catalogue_meet(tmp_path):
    block = CsvBlock("c.csv", 2, b"b,B,x|y\nz,Z,y\nb,B again,x\n")
    table, _, _ = parse_catalogue(block, ["item_id", "title", "genres"], CATALOGUE)
    directory = ExamplesDirectory(tmp_path)
    shards = {1: statistics("w", {"b": 0.5}), 0: statistics("u", {"a": 1.0, "b": 2.0})}
    counted, dead_letters = write_summary(
        [table], shards, [{"u": 2}, {"w": 1, "t": 2}], CATALOGUE, directory
    )
    assert counted == {
        "items": 3,
        "catalogue_items": 2,
        "items_outside_catalogue": 1,
        "unreadable_numbers": {},
        "vocabularies": {"item_id": 2, "user_id": 3, "genres": 2},
    }
    assert [letter["reason"] for letter in dead_letters] == ["duplicate_item"]
    items = read_item_attributes(directory.item_attributes)
    assert items.item_ids == ["a", "b", "z"]
    assert items.titles == ["", "B", "Z"]
    assert items.rating_sum.tolist() == [1.0, 2.5, 0.0]
    assert read_vocabulary(directory.vocabulary("item_id")) == ["b", "a"]
    assert read_vocabulary(directory.vocabulary("user_id")) == ["t", "u", "w"]
    assert read_vocabulary(directory.vocabulary("genres")) == ["y", "x"]
