from __future__ import annotations

import hashlib

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from configs.data import Data, Split
from preprocessing.arrow_bytes import table_from_bytes
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS
from preprocessing.interactions.catalogue import open_catalogue, open_profiles
from preprocessing.interactions.reading import open_interactions
from preprocessing.interactions.transforms import (
    INTEGER_ITEMS,
    ParseCatalogue,
    ParseInteractions,
    ParseProfiles,
)
from preprocessing.tables.reading_transforms import ReadTable


def shard_of(user: str, shards: int) -> int:
    digest = hashlib.blake2b(user.encode(), digest_size=8, key=b"shard").digest()
    return int.from_bytes(digest, "little") % shards


@pytest.fixture
def data(tmp_path) -> Data:
    contents = {
        "log1.csv": "user_id,item_id,rating,timestamp\nann,1,4,5\nbob,2,3,6\n,3,4,7\n",
        "log2.csv": "user_id,item_id,rating,timestamp\nann,x,4,8\n",
        "items.csv": "item_id,title\n1,One\n,None\n",
        "users.csv": "user_id,job\nann,cook\nbad\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    return Data.model_validate(
        {
            "interactions": {"path": str(tmp_path / "log*.csv")},
            "catalogue": {"path": str(tmp_path / "items.csv")},
            "profiles": {
                "path": str(tmp_path / "users.csv"),
                "attributes": {"job": {"kind": "categorical"}},
            },
        }
    )


def reasons(letters: list[dict]) -> list[str]:
    return [letter["reason"] for letter in letters]


def test_interactions_go_to_the_shard_of_their_user(data):
    reader = open_interactions(data, Split())
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        parsed = (
            pipeline
            | ReadTable(reader)
            | beam.ParDo(ParseInteractions(reader, data, 3)).with_outputs(
                STATISTICS, DEAD_LETTERS, INTEGER_ITEMS, main="tables"
            )
        )
        rows = parsed["tables"] | beam.FlatMap(
            lambda pair: [
                (pair[0], row["user"], row["item"], row["file"], row["line"])
                for row in table_from_bytes(pair[1]).to_pylist()
            ]
        )
        expected = [("ann", "1", 0, 2), ("bob", "2", 0, 3), ("ann", "x", 1, 2)]
        assert_that(rows, equal_to([(shard_of(row[0], 3), *row) for row in expected]), "rows")
        counts = [
            {"interactions": 3, "rejected_interactions": {"missing_user_id": 1}},
            {"interactions": 1, "rejected_interactions": {}},
        ]
        assert_that(parsed[STATISTICS], equal_to(counts), "counts")
        assert_that(parsed[INTEGER_ITEMS], equal_to([True, False]), "integers")
        letters = parsed[DEAD_LETTERS] | "Reasons" >> beam.Map(reasons)
        assert_that(letters, equal_to([["missing_user_id"]]), "letters")


def test_catalogue_and_profiles_are_counted_too(data):
    catalogue = open_catalogue(data.catalogue)
    profiles = open_profiles(data.profiles)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        items = (
            pipeline
            | "Items" >> ReadTable(catalogue)
            | beam.ParDo(ParseCatalogue(catalogue, data.catalogue)).with_outputs(
                STATISTICS, DEAD_LETTERS, main="tables"
            )
        )
        users = (
            pipeline
            | "Users" >> ReadTable(profiles)
            | beam.ParDo(ParseProfiles(profiles, data.profiles, 3)).with_outputs(
                STATISTICS, DEAD_LETTERS, main="tables"
            )
        )
        titles = items["tables"] | beam.Map(
            lambda table: table_from_bytes(table)["title"][0].as_py()
        )
        assert_that(titles, equal_to(["One"]), "titles")
        item_counts = {"catalogue_records": 2, "rejected_catalogue": {"missing_item_id": 1}}
        assert_that(items[STATISTICS], equal_to([item_counts]), "item counts")
        assert_that(
            items[DEAD_LETTERS] | "ItemReasons" >> beam.Map(reasons),
            equal_to([["missing_item_id"]]),
            "item letters",
        )
        jobs = users["tables"] | "Jobs" >> beam.Map(
            lambda pair: (pair[0], table_from_bytes(pair[1])["job"][0].as_py())
        )
        assert_that(jobs, equal_to([(shard_of("ann", 3), ["cook"])]), "jobs")
        user_counts = {"profile_records": 2, "rejected_profiles": {"wrong_column_count": 1}}
        assert_that(users[STATISTICS], equal_to([user_counts]), "user counts")
        assert_that(
            users[DEAD_LETTERS] | "UserReasons" >> beam.Map(reasons),
            equal_to([["wrong_column_count"]]),
            "user letters",
        )
