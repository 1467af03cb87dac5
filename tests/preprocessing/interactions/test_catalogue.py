from __future__ import annotations

import numpy as np

from configs.scenario import Catalogue
from preprocessing.csv_blocks import CsvBlock
from preprocessing.interactions.catalogue import (
    attributes_table,
    catalogue_columns,
    collect_items,
    parse_catalogue,
)

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
    return parse_catalogue(CsvBlock("films.csv", first_line, data), HEADER, CATALOGUE)


def test_mapped_columns_by_their_keys():
    assert catalogue_columns(CATALOGUE) == {
        "data.catalogue.item": "id",
        "data.catalogue.title": "name",
        "data.catalogue.attributes.kinds.column": "genres",
        "data.catalogue.attributes.language.column": "language",
        "data.catalogue.attributes.year.column": "year",
    }


def test_values_are_split_and_the_first_row_of_an_item_counts():
    later, dead_letters, records = parse(5, b"1,a,Again,,\n2,,No id,,\n")
    assert records == 2
    assert [(entry["line"], entry["reason"]) for entry in dead_letters] == [(6, "missing_item_id")]
    first, _, _ = parse(2, b" 1999 ,a,A film,x | y||x,en|fr\ninf,b,B,,\nold,c,C,z,\n")
    items = collect_items([later, first], CATALOGUE)
    assert [(entry["line"], entry["reason"]) for entry in items.dead_letters] == [
        (5, "duplicate_item")
    ]
    assert items.unreadable_numbers == {"year": 2}
    table = attributes_table(
        items, ["a", "b", "c", "new"], CATALOGUE, np.zeros((4, 10)), np.zeros((4, 10), np.int64)
    )
    assert table["title"].to_pylist() == ["A film", "B", "C", ""]
    assert table["kinds"].to_pylist() == [["x", "y"], [], ["z"], []]
    assert table["language"].to_pylist() == [["en|fr"], [], [], []]
    assert table["year"].to_pylist() == [1999.0, None, None, None]
