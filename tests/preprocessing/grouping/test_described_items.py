from __future__ import annotations

import numpy as np
import pyarrow as pa

from configs.data import Catalogue
from preprocessing.grouping.entities import describe_items

CATALOGUE = Catalogue.model_validate(
    {
        "path": "films.csv",
        "attributes": {"genres": {"kind": "categorical"}, "year": {"kind": "numeric"}},
    }
)


def described(titles: list[str], known: list[str], kept: list[str] | None = None):
    count = len(titles)
    table = pa.table(
        {
            "item_id": pa.array([f"{number}" for number in range(count, 0, -1)], pa.string()),
            "title": pa.array(titles, pa.string()),
            "genres": pa.array([["Drama"]] * count, pa.list_(pa.string())),
            "year": pa.array([None, *range(1, count)][:count], pa.float64()),
        }
    )
    return describe_items(table, CATALOGUE, pa.array(known, pa.string()), kept)


def test_catalogue_and_interactions_are_brought_together():
    items = described(["Two", "One"], ["1", "x", "0"])
    assert items.ids.to_pylist() == ["0", "1", "2", "x"]
    assert items.outside_catalogue == 2
    assert items.titles.to_pylist() == ["", "One", "Two", ""]
    assert items.titled.tolist() == [False, True, True, False]
    assert items.categories["genres"].to_pylist() == [None, ["Drama"], ["Drama"], None]
    np.testing.assert_array_equal(items.numbers["year"], [np.nan, 1, np.nan, np.nan])


def test_a_title_counts_when_a_prompt_can_show_something_of_it():
    titles = ["Heat", "???", "  ", "\u200b\u202e", "<|im_start|>", "[REC]", "[INST]", "七人", "<b>"]
    items = described(titles, [])
    shown = dict(zip(items.titles.to_pylist(), items.titled.tolist(), strict=True))
    assert [title for title in titles if not shown[title]] == [
        "  ", "\u200b\u202e", "<|im_start|>", "[INST]",
    ]  # fmt: skip


def test_items_that_the_filter_leaves_out_are_not_there_but_counted():
    items = described(["Three", "Two", "One"], ["2", "x"], kept=["2", "x"])
    assert items.ids.to_pylist() == ["2", "x"] and items.titles.to_pylist() == ["Two", ""]
    assert (items.filtered_out, items.outside_catalogue) == (2, 1)
    assert items.categories["genres"].to_pylist() == [["Drama"], None]
    assert described(["One"], []).filtered_out == 0


def test_an_empty_catalogue():
    items = described([], ["b", "a"])
    assert items.ids.to_pylist() == ["a", "b"] and not items.titled.any()
