"""Later answers extend the vectors of a source of links."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command_line import CommandError
from preprocessing.answers.record import Location
from preprocessing.encode import encode
from preprocessing.links.known_links import KnownLinks, read_known_links
from preprocessing.links.linking import NamesOfAnswers, TitleCatalogue
from tests.preprocessing.links.conftest import answer, write_answers

FOLDER = "work/knowledge/links"


@pytest.fixture
def known(scenario) -> KnownLinks:
    wanted = scenario(**{"knowledge.answers.links.links.dimension": 5})
    encode(wanted, sources=["links"])
    settings = wanted.knowledge.answers["links"].links
    return read_known_links(FOLDER, settings)


def names_of(answers: dict[str, list[object]]) -> NamesOfAnswers:
    names = NamesOfAnswers()
    for line, (item, listed) in enumerate(answers.items(), start=1):
        names.add(item, Location("new.jsonl", line), {"links": listed}, {"links": 10})
    return names


def row_of(known: KnownLinks, node: str) -> np.ndarray:
    nodes = [*known.vectors.items.to_pylist(), *known.vectors.outside.to_pylist()]
    return known.vectors.vectors[nodes.index(node)]


def test_new_and_changed_answers_get_rows_from_their_neighbours(known):
    answers = {"100": ["The Matrix", "Notting Hill (1999)"], "5": ["Zodiac", "Charade"]}
    extended = known.extended(names_of(answers))
    degree = dict(
        zip(
            [*extended.links.vectors.items.to_pylist(), "charade"],
            extended.links.vectors.degrees,
            strict=True,
        )
    )
    matrix = 1 / np.sqrt(degree["100"] * degree["3"]) * row_of(known, "3")
    hill = 1 / 1.05 / np.sqrt(degree["100"] * degree["6"]) * row_of(known, "6")
    values = known.vectors.eigenvalues
    reached = np.abs(values) > 0.1
    assert reached.tolist() == [True] * 4 + [False]
    expected = np.where(reached, (matrix + hill) / values, 0) * known.vectors.scale
    assert degree["100"] == pytest.approx(1 + 1 / 1.05)
    np.testing.assert_allclose(extended.rows[0], expected, rtol=1e-5, atol=1e-6)
    assert extended.rows.any(axis=1).all() and extended.rows.dtype == np.float32
    assert (extended.rows[1] != row_of(known, "5") * known.vectors.scale).any()
    for node in ("1", "2", "3", "4", "6", "7", "99", "charade"):
        np.testing.assert_array_equal(row_of(extended.links, node), row_of(known, node))
    assert extended.counts["names"] == 4 and extended.counts["linked"]["exact"] == 3
    assert extended.drift > 0


def test_an_answer_that_links_to_the_same_changes_nothing(known):
    same = {"6": ["Sabrina (1995)", "charade", "Matrix", "Seven"], "8": ["Something else"]}
    extended = known.extended(names_of(same))
    np.testing.assert_array_equal(extended.rows[0], row_of(known, "6") * known.vectors.scale)
    assert not extended.rows[1].any()
    np.testing.assert_array_equal(extended.links.vectors.vectors, known.vectors.vectors)
    assert extended.drift == pytest.approx(0, abs=1e-5)


def test_a_name_outside_becomes_a_node_when_it_is_shared(known):
    answers = {"4": ["Game, The", "Matrix"], "100": ["The Game (1997)", "Zodiac"]}
    extended = known.extended(names_of(answers))
    assert extended.links.vectors.outside.to_pylist() == ["charade", "game"]
    assert extended.rows.any(axis=1).all() and row_of(extended.links, "game").any()
    later = extended.links.extended(names_of({"101": ["The Game"]}))
    assert later.rows.any()


def test_an_answer_that_links_to_nothing_known_leaves_no_trace(known):
    useless = {"5": ["Nobody knows this"], "100": ["Nobody knows this"], "101": ["Heat"]}
    useful = {"102": ["Seven", "Heat"]}
    extended = known.extended(names_of(useless | useful))
    assert extended.rows.any(axis=1).tolist() == [False, False, False, True]
    alone = known.extended(names_of(useful))
    assert extended.links.table.to_pylist() == alone.links.table.to_pylist()
    np.testing.assert_array_equal(extended.links.vectors.vectors, alone.links.vectors.vectors)
    np.testing.assert_array_equal(row_of(extended.links, "5"), row_of(known, "5"))
    assert extended.counts["names"] == 5 and extended.drift == alone.drift
    nothing = known.extended(names_of(useless))
    assert not nothing.rows.any() and nothing.links.table.equals(known.table)


def test_an_answer_that_names_nothing_known_takes_no_links_from_an_item(known):
    """Not from one that others name either, whose row would not be empty without its own."""
    named = set(known.table["linked"].to_pylist()) & known.items_with_links()
    assert named
    for item in sorted(named):
        extended = known.extended(names_of({item: ["Nobody knows this"]}))
        assert not extended.rows.any() and extended.links.table.equals(known.table)
    others = names_of({item: ["Nobody knows this"] for item in named} | {"102": ["Seven"]})
    extended = known.extended(others)
    assert extended.rows.any(axis=1).tolist() == [False] * len(named) + [True]
    assert extended.links.items_with_links() == known.items_with_links() | {"102"}


def test_an_answer_that_names_nothing_known_is_of_use_where_others_name_the_item(known):
    only_named = set(known.table["linked"].drop_null().to_pylist()) - known.items_with_links()
    assert only_named
    for item in only_named:
        assert known.extended(names_of({item: ["Nobody knows this"]})).rows.any()


def test_the_order_of_answers_decides_nothing(known):
    years = np.append(known.catalogue.years, [1995, 1973])
    ids = pa.array([*known.catalogue.ids.to_pylist(), "10", "11"])
    titles = pa.array([*known.catalogue.titles.to_pylist(), "Heat", "Badlands"])
    known = replace(known, catalogue=TitleCatalogue(ids, titles, years))
    answers = {"10": ["Badlands"], "100": ["Heat"], "11": ["The Matrix"]}
    extended = known.extended(names_of(answers))
    assert extended.rows.any(axis=1).all()
    backwards = known.extended(names_of(dict(reversed(answers.items()))))
    np.testing.assert_array_equal(extended.rows, backwards.rows[::-1])
    one_by_one = known
    for item in ("11", "10", "100"):
        last = one_by_one.extended(names_of({item: answers[item]}))
        one_by_one = last.links
    np.testing.assert_array_equal(extended.rows[1], last.rows[0])


def test_an_item_without_a_row_gets_one_by_the_same_links_later(known):
    vectors = replace(known.vectors, vectors=known.vectors.vectors.copy())
    vectors.vectors[vectors.items.to_pylist().index("6")] = 0
    same = names_of({"6": ["Sabrina (1995)", "charade", "Matrix", "Seven"]})
    assert replace(known, vectors=vectors).extended(same).rows.any()


def test_mined_links_stay_beside_those_of_a_new_answer(scenario, folder):
    prose = [answer("100", "As good as The Matrix and Notting Hill.", "item")]
    write_answers(folder / "prose.jsonl", prose)
    wanted = scenario(
        **{
            "knowledge.answers.links.links.dimension": 5,
            "knowledge.answers.links.links.mine": ["item"],
        }
    )
    encode(wanted, sources=["links"])
    known = read_known_links(FOLDER, wanted.knowledge.answers["links"].links)

    def links_of_the_item(links: KnownLinks) -> list[tuple[str, str]]:
        rows = links.table.to_pylist()
        return sorted((row["linked"], row["how"]) for row in rows if row["item"] == "100")

    assert links_of_the_item(known) == [("3", "mined"), ("6", "mined")]
    assert "100" not in known.items_with_links() and "6" in known.items_with_links()
    extended = known.extended(names_of({"100": ["Seven", "The Matrix"]}))
    assert links_of_the_item(extended.links) == [
        ("3", "exact"), ("4", "exact"), ("6", "mined"),
    ]  # fmt: skip
    again = extended.links.extended(names_of({"100": ["Seven", "The Matrix"]}))
    np.testing.assert_array_equal(again.rows, extended.rows)
    assert again.links.table.equals(extended.links.table)


def test_what_is_kept_can_be_read_again_and_extended_the_same(known, tmp_path: Path):
    names = {"100": ["The Matrix", "Sabrina"], "101": ["Zodiac"]}
    first = known.extended(names_of(names))
    first.links.write(str(tmp_path))
    read = read_known_links(str(tmp_path), known.settings)
    second = read.extended(names_of({"102": ["Seven", "Charade"], **names}))
    np.testing.assert_array_equal(second.rows[1:], first.rows)
    np.testing.assert_array_equal(second.rows[0] != 0, np.abs(known.vectors.eigenvalues) > 0.1)


@pytest.mark.parametrize("name", ["links.parquet", "titles.parquet", "link_vectors.arrow"])
@pytest.mark.parametrize("data", [b"", b"no table"])
def test_a_damaged_file_is_named(known, name, data):
    Path(FOLDER, name).write_bytes(data)
    with pytest.raises(CommandError, match=name):
        read_known_links(FOLDER, known.settings)


def test_without_an_item_its_node_and_links_drop_and_no_other_row_changes(known, tmp_path: Path):
    gone = "3"
    naming = [row["name"] for row in known.table.to_pylist() if row["linked"] == gone]
    assert naming and gone in known.vectors.items.to_pylist()
    known.without([gone]).write(str(tmp_path))
    for path in tmp_path.glob("*.parquet"):
        for column in pq.read_table(path).columns:
            texts = [chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
                     for chunk in column.chunks]  # fmt: skip
            assert gone not in [text for chunk in texts for text in chunk.to_pylist()]
    left = read_known_links(str(tmp_path), known.settings)
    assert gone not in [*left.vectors.items.to_pylist(), *left.catalogue.ids.to_pylist()]
    for node in (*left.vectors.items.to_pylist(), *left.vectors.outside.to_pylist()):
        np.testing.assert_array_equal(row_of(left, node), row_of(known, node))
    before = [row for row in known.table.to_pylist() if row["item"] != gone]
    outside = {"linked": None, "how": "outside", "score": None}
    assert left.table.to_pylist() == [
        row | outside if row["linked"] == gone else row for row in before
    ]
