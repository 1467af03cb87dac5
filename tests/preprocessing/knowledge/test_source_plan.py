from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.data import CatalogueTable
from configs.loading import ConfigurationError
from preprocessing.interactions.catalogue import open_catalogue, parse_catalogue
from preprocessing.knowledge.accepting import accepted_file, read_accepted
from preprocessing.knowledge.source_plan import (
    accept_metadata,
    described_by,
    metadata_texts,
    plan_source,
)
from preprocessing.steps import settings_hash


def test_tables_are_those_that_the_source_reads(small_scenario):
    scenario = small_scenario(
        knowledge__answers__text={"entity": "item", "metadata": ["genres"]},
        knowledge__answers__noise={"entity": "item", "random": {}},
        knowledge__answers__users={"entity": "user", "random": {}},
        knowledge__answers__rated={"entity": "item", "collaborative": {}},
    )
    readers = {}
    for source in scenario.knowledge.answers:
        tables = plan_source(scenario, source).tables
        readers[source] = {
            name: getattr(tables, name).columns
            for name in ("groups", "catalogue", "interactions")
            if getattr(tables, name) is not None
        }
    log = ("user_id", "item_id", "rating", "timestamp")
    assert readers == {
        "item": {"groups": ("item_id", "group_id")},
        "text": {"catalogue": ("item_id", "title", "genres")},
        "noise": {"catalogue": ("item_id", "title"), "interactions": log},
        "users": {"interactions": log},
        "rated": {"interactions": log},
    }


def hash_of(scenario, source: str = "made") -> str:
    return settings_hash(plan_source(scenario, source).settings)


def test_an_attribute_that_a_text_leaves_out_makes_no_difference(small_scenario):
    made = {"knowledge__answers__made": {"entity": "item", "metadata": ["title", "genres"]}}
    first = hash_of(small_scenario(**made))
    year = "data__catalogue__attributes__year__pattern"
    genres = "data__catalogue__attributes__genres__separator"
    assert hash_of(small_scenario(**made, **{year: "(....)"})) == first
    assert hash_of(small_scenario(**made, **{genres: ","})) != first
    assert hash_of(small_scenario(**made, knowledge__encoder__seed=3)) != first


def test_how_the_log_is_written_makes_a_difference(small_scenario):
    made = {"knowledge__answers__made": {"entity": "item", "collaborative": {}}}
    first = hash_of(small_scenario(**made))
    assert hash_of(small_scenario(**made, data__interactions__quoting=False)) != first
    assert hash_of(small_scenario(**made, data__labels={"x": {"minimum_rating": 3}})) != first
    assert hash_of(small_scenario(**made, knowledge__encoder__seed=3)) == first


def test_a_column_that_is_not_there_is_explained(small_scenario, small_folder):
    (small_folder / "catalogue.csv").write_text("item_id,name,genres\n")
    scenario = small_scenario(knowledge__answers__made={"entity": "item", "metadata": ["title"]})
    with pytest.raises(ConfigurationError, match=r"data\.catalogue\.title: .*no column 'title'"):
        plan_source(scenario, "made")
    scenario = small_scenario(
        knowledge__answers__made={"entity": "item", "metadata": ["plot"]},
        data__catalogue__path="nowhere.csv",
    )
    with pytest.raises(ConfigurationError, match="there is no attribute 'plot'"):
        plan_source(scenario, "made")


ROWS = """\
id,name,kinds,year
1,Toy Story (1995),Animation|Children,1995
2,"Monsters,  Inc.",Animation,
3,,Drama,1950.5
4,,,
5,Are we\tthere?,Comedy,abc
1,Again,Drama,2000
,No id,Drama,2000
"""
KEY = "knowledge.answers.text.metadata"


@pytest.fixture
def catalogue(tmp_path: Path) -> CatalogueTable:
    (tmp_path / "items.csv").write_text(ROWS)
    return CatalogueTable.model_validate(
        {
            "path": str(tmp_path / "items.csv"),
            "item": "id",
            "title": "name",
            "attributes": {
                "genres": {"kind": "categorical", "column": "kinds", "separator": "|"},
                "year": {"kind": "numeric"},
            },
        }
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ("title", "genres"),
            [
                "Toy Story (1995). genres: Animation, Children",
                "Monsters, Inc. genres: Animation",
                "genres: Drama",
                "",
                "Are we there? genres: Comedy",
                "Again. genres: Drama",
            ],
        ),
        (
            ("year", "title"),
            [
                "year: 1995. Toy Story (1995)",
                "Monsters, Inc.",
                "year: 1950.5",
                "",
                "Are we there?",
                "year: 2000. Again",
            ],
        ),
    ],
)
def test_texts_from_metadata(catalogue, names, expected):
    described = described_by(catalogue, names, KEY)
    (block,) = open_catalogue(described).read()
    texts = list(metadata_texts(parse_catalogue(block, described)[0], names))
    assert texts == expected


def test_accepted_texts_and_dead_letters_add_up_to_the_catalogue(catalogue, tmp_path):
    names = ("title", "year")
    described = described_by(catalogue, names, KEY)
    letters = tmp_path / "letters.jsonl"
    reader = open_catalogue(described)
    counts = accept_metadata(described, reader, names, 2, str(tmp_path), str(letters))
    assert counts == [{"read": 7, "accepted": 4}]
    accepted = [
        answer
        for shard in range(2)
        for answer in read_accepted(accepted_file(str(tmp_path), shard))
    ]
    assert {answer.entity_id: answer.text for answer in accepted} == {
        "1": "Toy Story (1995). year: 1995",
        "2": "Monsters, Inc.",
        "3": "year: 1950.5",
        "5": "Are we there?",
    }
    assert {(answer.extraction, answer.location.file) for answer in accepted} == {
        ("individual", str(tmp_path / "items.csv"))
    }
    rejected = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [(letter["line"], letter["reason"]) for letter in rejected] == [
        (5, "no_metadata"),
        (7, "duplicate_item"),
        (8, "missing_item_id"),
    ]
    assert rejected[0]["detail"] == "the item has nothing under title, year"


def test_only_the_named_attributes_are_read(catalogue):
    assert described_by(catalogue, ("title", "year"), KEY).attributes.keys() == {"year"}


def test_an_unknown_attribute_is_refused_with_the_nearest_known(catalogue):
    with pytest.raises(ConfigurationError) as raised:
        described_by(catalogue, ("title", "genre"), KEY)
    message = str(raised.value)
    assert message.startswith(f"{KEY}: there is no attribute 'genre'")
    assert "Did you mean 'genres'? (there: title, genres, year)" in message
