"""Tables of links: what holds of them whatever they went through before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from configs.knowledge import Links
from preprocessing.answers.record import Location
from preprocessing.links.linking import (
    HOW,
    NamesOfAnswers,
    TitleCatalogue,
    link_names,
    read_links,
    with_outside_nodes,
    without_entities,
    write_parquet,
)


def catalogue_of(titles: list[str], years: list[float] | None = None) -> TitleCatalogue:
    """Items "1", "2" and so on."""
    ids = pa.array([str(number) for number in range(1, len(titles) + 1)])
    return TitleCatalogue(ids, pa.array(titles), np.array(years or [np.nan] * len(titles)))


def linked(catalogue: TitleCatalogue, answers: dict[str, list[str]]) -> pa.Table:
    """The table of links of lists of names."""
    names = NamesOfAnswers()
    for line, (item, listed) in enumerate(answers.items(), start=1):
        names.add(item, Location("links.jsonl", line), {"links": listed}, {"links": 10})
    return link_names(names, catalogue, Links())


@pytest.fixture
def table() -> pa.Table:
    """`how` in an order of appearance that is not that of `HOW`."""
    answers = {
        "1": ["Charade", "Zodiac", "Sabrina", "Charade"],
        "2": ["The Matrix", "Sabrina"],
        "3": ["Charade", "Heat"],
    }
    return linked(catalogue_of(["The Matrix", "Zodiac", "Sabrina"]), answers)


def test_a_table_without_an_entity_keeps_what_became_of_the_names(table, tmp_path: Path):
    expected = [
        ("1", "Charade", None, "charade", "outside_node"),
        ("1", "Zodiac", None, None, "outside"),
        ("1", "Sabrina", "3", None, "exact"),
        ("1", "Charade", None, None, "repeated_name"),
        ("3", "Charade", None, "charade", "outside_node"),
        ("3", "Heat", None, None, "outside"),
    ]
    write_parquet(without_entities(table, ["2"], ["2"]), tmp_path / "links.parquet")
    left = read_links(tmp_path / "links.parquet")
    for made in (left, with_outside_nodes(left)):
        columns = ("item", "name", "linked", "node", "how")
        assert [tuple(row[name] for name in columns) for row in made.to_pylist()] == expected
        assert made["how"].combine_chunks().dictionary.to_pylist() == list(HOW)


def test_the_order_of_a_dictionary_says_nothing(table):
    by_appearance = table["how"].cast(pa.string()).dictionary_encode()
    column = table.schema.get_field_index("how")
    field = table.schema.field(column)
    other = table.set_column(column, field, by_appearance.cast(field.type))
    assert other["how"].combine_chunks().dictionary.to_pylist() != list(HOW)
    assert with_outside_nodes(other).to_pylist() == table.to_pylist()
    assert without_entities(other, [], []).to_pylist() == table.to_pylist()


def test_names_of_which_nothing_is_left_have_nothing_in_common():
    answers = {"1": ["(1999)", "(2001)", "Heat"], "2": ["- (film)", "Heat (1995)"], "3": ["(1999)"]}
    for listed in (answers, {item: names[:1] for item, names in answers.items()}):
        made = linked(catalogue_of(["Zodiac"]), listed)
        assert [(row["name"], row["node"], row["how"]) for row in made.to_pylist()] == [
            (name, "heat", "outside_node") if "Heat" in name else (name, None, "outside")
            for names in listed.values()
            for name in names
        ]
