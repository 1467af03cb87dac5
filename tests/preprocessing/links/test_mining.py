from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from preprocessing.links.mining import TitleMentions

TITLES = (
    "Matrix, The (1999)",
    "Heat (1995)",
    "Laura (1944)",
    "Radiohead",
    "Before Sunrise (1995)",
    "Lord of the Rings, The",
    "Treasure of the Sierra Madre, The (1948)",
    "Toy Story",
    "Toy Story 2",
    "Amélie (2001)",
    "War Room, The",
)


def counted(text: str, *others: str) -> list[str]:
    """Mentions in a text that count when other texts are read, too."""
    titles = TitleMentions(pa.array(TITLES))
    mentions = titles.find(text)
    for other in others:
        titles.find(other)
    return [name for name, is_word in mentions if not is_word or titles.is_distinctive(name)]


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("A romance that echoes Before Sunrise.", ["Before Sunrise"]),
        ("They wake before sunrise.", []),
        ("He reads the Lord of the Rings aloud.", ["Lord of the Rings"]),
        ("As vast as The Lord of the Rings; bleak.", ["The Lord of the Rings"]),
        ("Recalls Treasure of the Sierra Madre.", ["Treasure of the Sierra Madre"]),
        ("Set in the War Room of the Pentagon.", []),  # two words need their article
        ("Better than Toy Story 2, said some.", ["Toy Story 2"]),  # the longest title
        ("Before Sunrise, and Before Sunrise again", ["Before Sunrise"]),
        ("Gene Tierney is Laura, the victim.", []),
        ("With Laura Dern.", []),
        ('A mystery close to "Laura" in mood.', ["Laura"]),
        ("For fans of Radiohead.", ["Radiohead"]),
        ("Bands like Radiohead.", ["Radiohead"]),
        ("For lovers of Before Sunrise, Laura and Heat.", ["Before Sunrise", "Laura", "Heat"]),
        ("Halfway between Heat and Before Sunrise.", ["Heat", "Before Sunrise"]),
        ("A whimsy like Am\u00e9lie.", ["Am\u00e9lie"]),
        ("", []),
    ],
)
def test_where_a_title_counts(text, mentions):
    assert counted(text) == mentions


def test_a_word_in_small_letters_or_in_many_answers_is_no_title_by_itself():
    text = "For fans of Heat."
    assert counted(text) == ["Heat"]
    assert counted(text, "In the heat of the night.") == []
    assert counted(text, *["Heat rises."] * 19) == ["Heat"]
    assert counted(text, *["Heat rises."] * 20) == []
    assert counted(text, *["Heat rises."] * 20, *["No word."] * 1_029) == ["Heat"]


def test_mentions_in_the_bundled_answers_mean_films_more_often_than_not(
    repository_root: Path,
) -> None:
    """Of 70 mentions drawn from the sample's prose and judged by hand, 43 mean the film.

    The others mean a character, song, place or book of that name.
    """
    sample = repository_root / "examples/movielens_small"
    with (sample / "movies.csv").open(encoding="utf-8") as file:
        titles = TitleMentions(pa.array([row["title"] for row in csv.DictReader(file)]))
    with gzip.open(sample / "answers/item_individual.jsonl.gz", "rt", encoding="utf-8") as file:
        answers = {answer["entity_id"]: answer["answer"] for answer in map(json.loads, file)}
    mentions = {item: titles.find(text) for item, text in answers.items()}
    actual = {
        (item, name)
        for item, names in mentions.items()
        for name, is_word in names
        if not is_word or titles.is_distinctive(name)
    }
    with Path(__file__).with_name("labelled_mentions.csv").open(encoding="utf-8") as file:
        labelled = [tuple(row.values()) for row in csv.DictReader(file)]
    assert len(labelled) == 70
    right = [row for row in labelled if row[:2] in actual and row[2] == "1"]
    wrong = [row for row in labelled if row[:2] in actual and row[2] == "0"]
    assert (len(right), len(wrong)) == (43, 27)
