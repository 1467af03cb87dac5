from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.data import Catalogue
from configs.loading import ConfigurationError
from preprocessing.interactions.catalogue import open_catalogue, parse_catalogue
from preprocessing.knowledge.accepting import accepted_file, read_accepted
from preprocessing.knowledge.source_plan import accept_metadata, described_by, metadata_texts

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
def catalogue(tmp_path: Path) -> Catalogue:
    (tmp_path / "items.csv").write_text(ROWS)
    return Catalogue.model_validate(
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
def test_texts(catalogue, names, expected):
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
    assert {(answer.extraction, answer.place.file) for answer in accepted} == {
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
