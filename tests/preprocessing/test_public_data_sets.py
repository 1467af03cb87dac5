"""The scenario files of public data sets read what their publishers write, in small."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.data import Data
from configs.loading import load_scenario
from configs.scenario import Scenario
from preprocessing.interactions.catalogue import (
    collect_items,
    collect_profiles,
    open_catalogue,
    open_profiles,
    parse_catalogue,
    parse_profiles,
)
from preprocessing.interactions.reading import open_interactions, parse_interactions


@pytest.fixture
def scenario_of(repository_root, tmp_path, monkeypatch):
    """Loads a scenario file beside the files that a test writes into its data folder."""
    monkeypatch.chdir(tmp_path)

    def load(name: str, files: dict[str, bytes], *overrides: str) -> Scenario:
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        return load_scenario(repository_root / "configs" / f"{name}.yaml", overrides)

    return load


def interactions_of(scenario: Scenario) -> tuple[pa.Table, Counter[str]]:
    reader = open_interactions(scenario.data, scenario.split)
    parsed = [parse_interactions(block, scenario.data) for block in reader.read()]
    letters = Counter(letter["reason"] for _, letters in parsed for letter in letters)
    return pa.concat_tables([table for table, _ in parsed]), letters


def items_of(data: Data) -> tuple[dict[str, dict], Counter[str]]:
    reader = open_catalogue(data.catalogue)
    parsed = [parse_catalogue(block, data.catalogue) for block in reader.read()]
    items = collect_items([table for table, _ in parsed], data.catalogue, reader.names)
    rows = items.table.drop_columns(["@file", "@line"]).to_pylist()
    letters = [letter for _, some in parsed for letter in some] + items.dead_letters
    assert not any(items.unreadable_numbers.values())
    return {row.pop("item_id"): row for row in rows}, Counter(
        letter["reason"] for letter in letters
    )


def profiles_of(data: Data) -> dict[str, dict]:
    assert data.profiles is not None
    reader = open_profiles(data.profiles)
    parsed = [parse_profiles(block, data.profiles) for block in reader.read()]
    assert not any(letters for _, letters in parsed)
    profiles = collect_profiles([table for table, _ in parsed], data.profiles, reader.names)
    rows = profiles.table.drop_columns(["@file", "@line"]).to_pylist()
    return {row.pop("user"): row for row in rows}


def short(table: pa.Table) -> list[tuple]:
    names = ("user", "item", "rating", "label", "timestamp", "line")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_movielens_100k(scenario_of):
    item = (
        "{id}|{title}|{date}||http://us.imdb.com/M/title-exact?{title}|"
        "0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    )
    catalogue = item.format(id=1, title="Toy Story (1995)", date="01-Jan-1995")
    catalogue += item.format(id=543, title="Misérables, Les (1995)", date="01-Jan-1995")
    catalogue += item.format(id=267, title='unknown "x', date="").replace(
        "0|0|0|1|1|1", "1|0|0|0|0|0"
    )
    scenario = scenario_of(
        "movielens_100k",
        {
            "u.data": b"196\t242\t3\t881250949\n186\t302\t4\t891717742\n",
            "u.item": catalogue.encode("latin-1"),
            "u.user": b"1|24|M|technician|85711\n2|53|F|none|T8H1N\n",
        },
    )
    table, letters = interactions_of(scenario)
    assert short(table) == [
        ("196", "242", 3.0, 0, 881250949, 1),
        ("186", "302", 4.0, 1, 891717742, 2),
    ]
    items, item_letters = items_of(scenario.data)
    assert items == {
        "1": {
            "title": "Toy Story (1995)",
            "genres": ["Animation", "Children's", "Comedy"],
            "release_year": 1995.0,
        },
        "543": {
            "title": "Misérables, Les (1995)",
            "genres": ["Animation", "Children's", "Comedy"],
            "release_year": 1995.0,
        },
        "267": {"title": 'unknown "x', "genres": [], "release_year": None},
    }
    assert profiles_of(scenario.data) == {
        "1": {"age": 24.0, "gender": ["male"], "occupation": ["technician"]},
        "2": {"age": 53.0, "gender": ["female"], "occupation": ["person without occupation"]},
    }
    assert not letters and not item_letters


def test_movielens_1m(scenario_of):
    movies = (
        "1::Toy Story (1995)::Animation|Children's|Comedy\n"
        "73::Misérables, Les (1995)::Drama|Musical\n"
        '1138::Dear Diary (Caro Diario) (1994)::Comedy\n9::"Quoted", (1990)::Drama\n'
    )
    scenario = scenario_of(
        "movielens_1m",
        {
            "ratings.dat": b"1::1193::5::978300760\n1::661::3::978302109\n",
            "movies.dat": movies.encode("latin-1"),
            "users.dat": b"1::F::1::10::48067\n2::M::56::16::70072\n",
        },
    )
    table, letters = interactions_of(scenario)
    assert short(table) == [
        ("1", "1193", 5.0, 1, 978300760, 1),
        ("1", "661", 3.0, 0, 978302109, 2),
    ]
    items, item_letters = items_of(scenario.data)
    assert items["73"] == {
        "title": "Misérables, Les (1995)",
        "genres": ["Drama", "Musical"],
        "release_year": 1995.0,
    }
    assert (items["1138"]["release_year"], items["9"]["title"]) == (1994.0, '"Quoted", (1990)')
    assert profiles_of(scenario.data) == {
        "1": {"gender": ["female"], "age": ["under 18"], "occupation": ["K-12 student"]},
        "2": {"gender": ["male"], "age": ["56 or more"], "occupation": ["self-employed person"]},
    }
    assert not letters and not item_letters


def test_movielens_latest(scenario_of):
    scenario = scenario_of(
        "movielens_latest",
        {
            "ratings.csv": b"userId,movieId,rating,timestamp\r\n1,307,3.5,1256677221\r\n",
            "movies.csv": (
                b"movieId,title,genres\r\n1,Toy Story (1995),Adventure|Animation\r\n"
                b'11,"American President, The (1995) ",Comedy\r\n'
                b"12,Babylon 5,(no genres listed)\r\n"
            ),
        },
    )
    table, letters = interactions_of(scenario)
    assert short(table) == [("1", "307", 3.5, 0, 1256677221, 2)]
    items, item_letters = items_of(scenario.data)
    assert items["11"]["title"] == "American President, The (1995) "
    assert items["11"]["release_year"] == 1995.0
    assert items["12"] == {"title": "Babylon 5", "genres": [], "release_year": None}
    assert not letters and not item_letters


def json_lines(*records: dict) -> bytes:
    return gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode())


def test_amazon_books(scenario_of):
    review = {
        "overall": 5.0,
        "verified": False,
        "reviewTime": "03 30, 2005",
        "reviewerID": "A1REUF3A1YCPHM",
        "asin": "0001713353",
        "style": {"Format:": " Hardcover"},
        "reviewerName": "TW Ervin II",
        "reviewText": 'The "King"\nand more',
        "summary": "A story",
        "unixReviewTime": 1112140800,
        "vote": "2",
    }
    book = {
        "category": ["Books", "New, Used & Rental Textbooks", "Books"],
        "tech1": "",
        "description": ["It is a biology book."],
        "title": "Biology Gods",
        "also_buy": ["0669009075"],
        "brand": "Visit Amazon's Keith Evans Page",
        "rank": "1,349,781 in Books (",
        "price": "$39.94",
        "asin": "0000092878",
        "similar_item": {},
    }
    scenario = scenario_of(
        "amazon_books",
        {
            "Books_5.json.gz": json_lines(review, review | {"overall": 4.0, "asin": "B00"}),
            "meta_Books.json.gz": json_lines(
                book,
                {"category": [], "title": "No author", "asin": "1"},
                book | {"brand": "Jane Page", "asin": "2", "category": ["Books", "Two\nlines"]},
                book,
            ),
        },
    )
    table, letters = interactions_of(scenario)
    assert short(table) == [
        ("A1REUF3A1YCPHM", "0001713353", 5.0, 1, 1112140800, 1),
        ("A1REUF3A1YCPHM", "B00", 4.0, 0, 1112140800, 2),
    ]
    items, item_letters = items_of(scenario.data)
    assert items == {
        "0000092878": {
            "title": "Biology Gods",
            "author": ["Keith Evans"],
            "category": ["Books", "New, Used & Rental Textbooks"],
        },
        "1": {"title": "No author", "author": [], "category": []},
        "2": {"title": "Biology Gods", "author": ["Jane"], "category": ["Books", "Two lines"]},
    }
    assert not letters and item_letters == {"duplicate_item": 1}


def test_goodbooks_10k(scenario_of):
    scenario = scenario_of(
        "goodbooks_10k",
        {
            "ratings.csv": b"user_id,book_id,rating\n1,258,5\n2,4081,4\n2,260,3\n",
            "books.csv": (
                "book_id,goodreads_book_id,isbn,authors,original_publication_year,original_title,"
                "title,language_code\n"
                '2,3,439554934,"J.K. Rowling, Mary GrandPré",1997.0,HP,"Harry Potter (#1)",eng\n'
                "99,5,,Homer,-762.0,,The Iliad,\n"
            ).encode(),
        },
    )
    table, letters = interactions_of(scenario)
    assert short(table) == [
        ("1", "258", 5.0, 1, 0, 2), ("2", "4081", 4.0, 1, 0, 3), ("2", "260", 3.0, 0, 0, 4),
    ]  # fmt: skip
    assert table["order"].to_pylist() == [0.0, 0.0, 0.0]
    items, item_letters = items_of(scenario.data)
    assert items == {
        "2": {
            "title": "Harry Potter (#1)",
            "author": ["J.K. Rowling", "Mary GrandPré"],
            "language": ["eng"],
            "year": 1997.0,
        },
        "99": {"title": "The Iliad", "author": ["Homer"], "language": [], "year": -762.0},
    }
    assert not letters and not item_letters


def test_parquet_with_integer_ids_and_times(scenario_of, tmp_path):
    for number, unit in enumerate(("ms", "ns")):
        times = pa.array([1_000_000_000_500], pa.timestamp("ms", "UTC"))
        pq.write_table(
            pa.table(
                {
                    "userId": pa.array([2**62 + number]),
                    "movieId": pa.array([7], pa.int32()),
                    "rating": pa.array([4.0], pa.float32()),
                    "timestamp": times.cast(pa.timestamp(unit, "UTC")),
                }
            ),
            tmp_path / f"part-{number}.parquet",
        )
    scenario = scenario_of("movielens_latest", {}, "data.interactions.path=part-*.parquet")
    table, letters = interactions_of(scenario)
    assert short(table) == [
        ("4611686018427387904", "7", 4.0, 1, 1_000_000_000, 1),
        ("4611686018427387905", "7", 4.0, 1, 1_000_000_000, 1),
    ]
    assert table["order"].to_pylist() == [1_000_000_000.5] * 2
    assert table["file"].to_pylist() == [0, 1]
    assert not letters


def test_the_real_movielens_1m(repository_root: Path, shared_data: Path):
    folder = shared_data / "ml-1m"
    if not folder.is_dir():
        pytest.skip(f"no MovieLens 1M at {folder}")
    scenario = load_scenario(
        repository_root / "configs/movielens_1m.yaml",
        [
            # this copy has each user's true order in place of times
            f"data.interactions.path={folder / 'ratings.csv.gz'}",
            "data.interactions.separator=null",
            "data.interactions.header=true",
            "data.interactions.column_names=[]",
            "data.interactions.columns.timestamp=null",
            "data.interactions.columns.order=position",
            f"data.catalogue.path={folder / 'movies.dat'}",
            f"data.profiles.path={folder / 'users.dat'}",
        ],
    )
    table, letters = interactions_of(scenario)
    assert len(table) == 1_000_209 and not letters
    assert len(set(table["user"].to_pylist())) == 6040
    assert len(set(table["item"].to_pylist())) == 3706
    assert sum(table["label"].to_pylist()) == 575_281  # ratings of 4 and 5
    items, item_letters = items_of(scenario.data)
    assert len(items) == 3883 and not item_letters
    assert items["73"]["title"] == "Misérables, Les (1995)"
    assert all(1919 <= item["release_year"] <= 2000 for item in items.values())
    genres = {genre for item in items.values() for genre in item["genres"]}
    assert len(genres) == 18
    profiles = profiles_of(scenario.data)
    assert len(profiles) == 6040
    assert Counter(profile["gender"][0] for profile in profiles.values()) == {
        "male": 4331,
        "female": 1709,
    }
    assert all(len(profile["occupation"]) == 1 for profile in profiles.values())
