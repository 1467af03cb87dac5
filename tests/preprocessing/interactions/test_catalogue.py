from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from configs.data import Catalogue
from configs.loading import ConfigurationError
from preprocessing.interactions.catalogue import (
    attributes_table,
    catalogue_columns,
    catalogue_schema,
    collect_items,
    open_catalogue,
    parse_catalogue,
)
from preprocessing.records.item_tables import FIXED_COLUMNS
from tests.preprocessing.tables.tables_on_disk import csv_block, typed_block

CATALOGUE = Catalogue.model_validate(
    {
        "path": "films.csv",
        "item": "id",
        "title": "name",
        "attributes": {
            "kinds": {"kind": "categorical", "column": "genres", "separator": "|"},
            "language": {"kind": "categorical"},
            "year": {"kind": "numeric"},
        },
    }
)
HEADER = ["year", "id", "name", "genres", "language"]


def parse(first_line: int, data: bytes):
    block = csv_block(HEADER, data, first_line, "films.csv")
    table, letters = parse_catalogue(block, CATALOGUE)
    assert block.records == len(table) + len(letters)
    return table, letters


def test_mapped_columns_by_their_keys():
    assert catalogue_columns(CATALOGUE) == {
        "data.catalogue.item": "id",
        "data.catalogue.title": "name",
        "data.catalogue.attributes.kinds.column": "genres",
        "data.catalogue.attributes.language.column": "language",
        "data.catalogue.attributes.year.column": "year",
    }


def test_values_are_split_and_the_first_row_of_an_item_counts():
    later, dead_letters = parse(5, b"1,a,Again,,\n2,,No id,,\n")
    assert [(entry["line"], entry["reason"]) for entry in dead_letters] == [(6, "missing_item_id")]
    first, _ = parse(2, b" 1999 ,a,A film,x | y||x,en|fr\ninf,b,B,,\nold,c,C,z,\n")
    items = collect_items([later, first], CATALOGUE, ["films.csv"])
    assert [(entry["line"], entry["reason"]) for entry in items.dead_letters] == [
        (5, "duplicate_item")
    ]
    assert items.unreadable_numbers == {"year": 2}
    assert items.ids == ["a", "b", "c"]
    table = attributes_table(
        items, ["a", "b", "c", "new"], CATALOGUE, np.zeros((4, 10)), np.zeros((4, 10), np.int64)
    )
    assert table["title"].to_pylist() == ["A film", "B", "C", ""]
    assert table["kinds"].to_pylist() == [["x", "y"], [], ["z"], []]
    assert table["language"].to_pylist() == [["en|fr"], [], [], []]
    assert table["year"].to_pylist() == [1999.0, None, None, None]


def test_statistics_belong_to_their_items():
    items = collect_items([parse(2, b",b,B,,\n,a,A,,\n")[0]], CATALOGUE, ["films.csv"])
    sums, counts = np.arange(20.0).reshape(2, 10), np.arange(20).reshape(2, 10)
    table = attributes_table(items, ["a", "b"], CATALOGUE, sums, counts)
    for name, found in FIXED_COLUMNS.items():
        assert table.schema.field(name).type == found
    assert table["title"].to_pylist() == ["A", "B"]
    assert table["rating_sum"].to_pylist() == [45.0, 145.0]
    assert table["rating_count"].to_pylist() == [45, 145]
    assert table["rating_count_by_fold"].to_pylist() == counts.tolist()
    assert table["rating_sum_by_fold"].to_pylist() == sums.tolist()


def test_an_empty_catalogue():
    items = collect_items([], CATALOGUE, ["films.csv"])
    assert items.ids == [] and items.unreadable_numbers == {"year": 0}
    table = attributes_table(
        items, ["x"], CATALOGUE, np.zeros((1, 10)), np.zeros((1, 10), np.int64)
    )
    assert table.select(["item_id", "title", "kinds", "year"]).to_pylist() == [
        {"item_id": "x", "title": "", "kinds": [], "year": None}
    ]


def test_typed_columns():
    block = typed_block(
        pa.table(
            {
                "id": pa.array([7, 8]),
                "name": ["Seven", None],
                "genres": [["x", "y"], None],
                "language": pa.array(["en", "fr"]).dictionary_encode(),
                "year": pa.array([1999, None]),
            }
        )
    )
    table, letters = parse_catalogue(block, CATALOGUE)
    assert letters == [] and table.schema == catalogue_schema(CATALOGUE)
    assert table.drop_columns(["@file", "@line"]).to_pylist() == [
        {"item_id": "7", "title": "Seven", "kinds": ["x", "y"], "language": ["en"], "year": 1999.0},
        {"item_id": "8", "title": "", "kinds": [], "language": ["fr"], "year": None},
    ]


def test_names_of_attributes_and_columns_are_checked(tmp_path):
    path = tmp_path / "films.csv"
    path.write_text("id,name,genres\n")
    catalogue = {"path": str(path), "item": "id", "title": "name"}

    def opened(**attributes):
        return open_catalogue(Catalogue.model_validate(catalogue | {"attributes": attributes}))

    assert opened(genres={"kind": "categorical"}).columns == ("id", "name", "genres")
    with pytest.raises(ConfigurationError, match="'title' is taken"):
        opened(title={"kind": "categorical", "column": "genres"})
    with pytest.raises(ConfigurationError, match=r"attributes.x.flags\[1\]: .*no column 'War'"):
        opened(x={"kind": "categorical", "flags": ["genres", "War"]})
