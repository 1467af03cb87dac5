"""Tables of links: what holds of them whatever they went through before."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.knowledge import Links
from preprocessing.answers.record import Location
from preprocessing.links.linking import (
    HOW,
    NamesOfAnswers,
    TitleCatalogue,
    link_names,
    links_schema,
    read_links,
    review_rows,
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
    for column, texts in {
        "item": ["1", "3"],
        "name": ["Charade", "Zodiac", "Sabrina", "Heat"],
        "linked": ["3"],
        "node": ["charade"],
    }.items():
        assert left[column].combine_chunks().dictionary.to_pylist() == texts


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


YEARS = st.integers(1990, 1996) | st.none()


def meant(years: list[int | None], own: int | None, said: int | None) -> tuple[str | None, str]:
    """Which of the items "Emma", by number from 1, a name in an answer means; and how."""
    known = dict(enumerate(years, start=1))
    items = [
        item
        for item, year in known.items()
        if year is None or said is None or abs(year - said) <= Links().year_tolerance
    ]
    if items == [own]:
        return None, "self_mention"
    items = [item for item in items if item != own]
    wanted = said if said is not None else known.get(own)

    def apart(item: int) -> float:
        year = known[item]
        return np.inf if year is None or wanted is None else abs(year - wanted)

    best = sorted(items, key=apart)[:2]
    if not best:
        return None, "outside"
    if len(best) == 2 and apart(best[0]) == apart(best[1]):
        return None, "ambiguous"
    return str(best[0]), "year" if len(best) == 2 else "exact"


@given(st.lists(YEARS, min_size=1, max_size=9), st.lists(YEARS, min_size=10, max_size=10))
def test_of_one_title_that_of_the_nearest_year_is_meant_but_not_the_own(years, said):
    catalogue = catalogue_of(["Emma"] * len(years), [np.nan if y is None else y for y in years])
    asked = {
        str(item): year for item, year in zip([*range(1, len(years) + 1), 99], said, strict=False)
    }
    names = {item: ["Emma" if year is None else f"Emma ({year})"] for item, year in asked.items()}
    made = linked(catalogue, names).to_pylist()
    assert [(row["linked"], row["how"].replace("outside_node", "outside")) for row in made] == [
        meant(years, None if item == "99" else int(item), year) for item, year in asked.items()
    ]


def test_a_title_of_many_items_takes_no_memory_for_each_mention():
    catalogue = catalogue_of(["Emma"] * 2_000)
    assert len(catalogue.index.years) == 2_000
    answers = {str(item): ["Emma"] for item in range(2_000)}
    tracemalloc.start()
    made = linked(catalogue, answers)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(made["how"].to_pylist()) == {"ambiguous"}
    assert most < 8 * 2_000 * 2_000


def test_texts_of_all_rows_may_be_longer_than_a_column_of_strings():
    rows, long = 2_100, "x" * (1 << 20)
    assert rows * len(long) > 1 << 31
    number = pa.array(np.arange(rows, dtype=np.int32) % 2)
    same = pa.array(np.zeros(rows, np.int32))
    columns = {
        "item": pa.DictionaryArray.from_arrays(number, [long, "2"]),
        "list": pa.DictionaryArray.from_arrays(same.cast(pa.int8()), ["links"]),
        "name": pa.DictionaryArray.from_arrays(same, [long]),
        "rank": same.cast(pa.int16()),
        "linked": pa.DictionaryArray.from_arrays(number, ["1", long]),
        "node": pa.DictionaryArray.from_arrays(pa.nulls(rows, pa.int32()), ["node"]),
        "how": pa.DictionaryArray.from_arrays(same.cast(pa.int8()), ["near"]),
        "score": same.cast(pa.float32()),
    }
    table = pa.table(columns, schema=links_schema("item"))
    catalogue = TitleCatalogue(pa.array([long, "1"]), pa.array(["A", "B"]), np.full(2, np.nan))
    review = review_rows(table, catalogue).to_pylist()
    assert [(row["title"], row["answers"]) for row in review] == [("B", 1_050), ("A", 1_050)]
    assert {row["name"] for row in review} == {long}
    left = without_entities(table, ["2"], ["1"])
    assert len(left) == 1_050 and left["linked"].null_count == 1_050
    assert {row["item"] for row in left.slice(0, 3).to_pylist()} == {long}
